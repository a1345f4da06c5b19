"""Recorded sessions: whole, exact, and the same however many play them."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.exceptions import WorkerCrashedError
from typer.testing import CliRunner

from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.core.fragment import Fragment
from algorithms.core.slates import SlateDistribution
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy, baseline
from algorithms.slateq import SlateQAgent, SlateQSettings
from algorithms.train import app as train
from envs.history import History
from envs.registry import make_simulator
from offline.log import COLUMNS, LogError, LogWriter, Pseudonyms, Rows, concatenate, open_log
from offline.log.sessions import starts
from offline.playing import Destination, Target, play, play_all, tasks_of
from offline.record import app
from offline.recording import Acting, header_of, training_recorder

SMALL = ["--set", "env.name=boredom", "--users", "30"]


def record(out: Path, *words: str) -> str:
    found = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert found.exit_code == 0, found.output
    return found.stdout


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).sessions(columns=tuple(COLUMNS))))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SlateQ policy for boredom, untrained."""
    simulator = make_simulator("boredom", 1)
    torch.manual_seed(0)
    settings = SlateQSettings(hidden=(8,)).model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, simulator.slate_size, settings)
    info = {"world": {"name": "boredom", "backend": "torch"}}
    folder = tmp_path_factory.mktemp("run")
    Policy(agent, exploration=Exploration(0.2), version=7, info=info).save(folder)
    return folder


def distribution(rows: Rows) -> SlateDistribution:
    """Of rows with one epsilon and temperature."""
    tensors = rows.tensors()
    greedy = tensors["greedy"] if (tensors["greedy"] >= 0).all() else None
    return SlateDistribution(
        tensors["log_weights"],
        tensors["mask"],
        tensors["slate"].shape[1],
        float(rows["epsilon"][0]),
        float(rows["temperature"][0]),
        greedy,
    )


@pytest.mark.parametrize(
    ("words", "epsilon", "temperature"),
    [
        ([], 0.2, 0.0),
        (["--epsilon", "0.5"], 0.5, 0.0),
        (["--epsilon", "0", "--temperature", "2"], 0.0, 2.0),
        (["--epsilon", "0.5", "--temperature", "0.5"], 0.5, 0.5),
    ],
)
def test_propensities_are_those_of_the_logged_distribution(
    tmp_path: Path, run: Path, words: list[str], epsilon: float, temperature: float
) -> None:
    record(tmp_path / "log", str(run), "--users", "30", *words)
    rows = read(tmp_path / "log")
    assert set(rows["epsilon"]) == {epsilon} and set(rows["temperature"]) == {temperature}
    stated = distribution(rows).slot_log_prob(torch.from_numpy(rows["slate"]))
    torch.testing.assert_close(stated, torch.from_numpy(rows["slot_log_propensities"]))
    assert (rows["log_propensity"] < 0).all()
    assert set(rows["policy"]) == {"slateq"} and set(rows["policy_version"]) == {"7"}


def test_a_log_is_what_the_evaluation_plays(tmp_path: Path) -> None:
    text = record(tmp_path / "log", "random", *SMALL, "--seed", "5")
    log, rows = open_log(tmp_path / "log"), read(tmp_path / "log")
    begins = starts(rows)
    assert len(begins) == 30 and rows["step"].max() < 20
    simulator = make_simulator("boredom", 1)
    policy = baseline("random", simulator.spec, simulator.history, 3)
    played = evaluate_policy(policy, {"name": "boredom"}, 30, 5, explore=True)
    assert (np.add.reduceat(rows["reward"], begins) == played.returns).all()
    assert (np.diff(begins, append=len(rows)) == played.lengths).all()
    assert rows["terminated"].nonzero()[0].tolist() == [*(begins[1:] - 1), len(rows) - 1]
    assert log.header.world == {"name": "boredom", "backend": "torch"}
    assert log.header.reward == "clicks"
    last = text.splitlines()[-1]
    assert last == f"{(tmp_path / 'log').resolve()}: 30 sessions, {len(rows)} rows"


def test_the_history_follows_from_the_log(tmp_path: Path) -> None:
    record(tmp_path / "log", "click_maximiser", *SMALL)
    log, rows = open_log(tmp_path / "log"), read(tmp_path / "log")
    assert isinstance(log.header.history, History) and log.header.history.size > 0
    begins = [*starts(rows), len(rows)]
    tensors = rows.tensors()
    for first, end in pairwise(begins):
        part = slice(first, end)
        index = tensors["slate"][part][..., None].expand(-1, -1, tensors["candidates"].shape[2])
        shown = tensors["candidates"][part].gather(1, index)
        found = log.header.history.replay(shown[:, None], tensors["response"][part][:, None])
        torch.testing.assert_close(found[:-1, 0], tensors["history"][part])


def random_target() -> Target:
    simulator = make_simulator("boredom", 1)
    policy = baseline("random", simulator.spec, simulator.history, 3)
    return Target(policy, Acting("random", "0"))


def test_the_log_does_not_depend_on_the_workers(tmp_path: Path, cluster: None) -> None:
    world = {"name": "boredom", "backend": "torch"}
    for workers in (0, 2):
        to = Destination(tmp_path / str(workers), header_of(world), "json", None)
        list(play_all(tasks_of(1, 1100), [random_target()], world, 3, to, workers))
    here, there = (sorted((tmp_path / name).iterdir()) for name in ("0", "2"))
    assert [file.name for file in here] == [file.name for file in there]
    assert len(here) == 4  # 1,100 users are three chunks of 500, and a header
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(here, there, strict=True))


def test_sessions_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    target, world = random_target(), {"name": "boredom"}
    for users in (20, 40):
        to = Destination(tmp_path / str(users), header_of(world), "json", None)
        (task,) = tasks_of(1, users)
        play(task, target, world, 3, to)
    few, many = (
        (tmp_path / name / "part-000000-00000.jsonl").read_bytes() for name in ("20", "40")
    )
    assert many.startswith(few)


def test_several_policies_are_arms_of_one_log(tmp_path: Path, run: Path) -> None:
    text = record(tmp_path / "log", "random", str(run), "--users", "20", "--format", "parquet")
    rows = read(tmp_path / "log")
    assert set(rows["arm"]) == {"random", run.name}
    assert set(rows["epsilon"][rows["arm"] == "random"]) == {1.0}
    assert set(rows["epsilon"][rows["arm"] == run.name]) == {0.2}
    assert len(set(rows["session_id"])) == 40
    assert text.startswith("random: return ") and f"\n{run.name}: return " in text


def test_logs_of_two_policies_can_be_read_as_one(tmp_path: Path, run: Path) -> None:
    for name, words in (
        ("a", ["random"]),
        ("b", [str(run)]),
        ("c", [str(run), "--epsilon", "0.3"]),
    ):
        record(tmp_path / name, *words, *SMALL)
    record(tmp_path / "again", "random", *SMALL)
    a, b, c, again = (set(read(tmp_path / name)["session_id"]) for name in ("a", "b", "c", "again"))
    assert len(a | b | c) == len(a) + len(b) + len(c) and a == again


def test_ids_are_hashed_where_a_key_is_given(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    key = ["--key-file", str(tmp_path / "key")]
    record(tmp_path / "log", "random", *SMALL, *key, "--seed", "77")
    rows = read(tmp_path / "log")
    assert all(len(name) == 32 for name in rows["session_id"])
    assert open_log(tmp_path / "log").header.pseudonyms is not None
    # No column may name a session as it was, MARK-77-0 to MARK-77-29.
    assert b"-77-" not in (tmp_path / "log" / "part-000000-00000.jsonl").read_bytes()
    assert all(
        a.startswith(f"{b}-") for a, b in zip(rows["impression_id"], rows["user_id"], strict=True)
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "'nobody' is neither a run folder nor a baseline"),
        (["random", "--users", "0"], "--users is 0; it must be at least 1"),
        (["random", "--epsilon", "0.1"], "'random' always explores in its own way"),
        (["click_maximiser", "--epsilon", "2"], "epsilon is 2.0; it is a probability"),
        (["click_maximiser", "--temperature", "-1"], "temperature is -1.0; it must be finite"),
        (["random", "random"], "'random' and 'random' would both be arm 'random' of the log"),
        (["a/p", "b/p/"], "'a/p' and 'b/p/' would both be arm 'p' of the log"),
        (["random", "--format", "csv"], "format is 'csv'; allowed are: json, parquet"),
        (
            ["random", "--set", "env.name=Pendulum-v1"],
            "an agent makes numbers itself",
        ),
        (["random", "--set", "env.nam=1"], "unknown key 'env.nam'"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, words: list[str], message: str) -> None:
    found = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "log")])
    assert found.exit_code == 2 and message in found.stderr
    assert found.stderr.count("\n") == 1 and not (tmp_path / "log").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = CliRunner().invoke(app, ["random", "--out", str(tmp_path)])
    assert found.exit_code == 2 and "is there already; choose another folder" in found.stderr


def fragments(count: int, stagger: int, temperature: float) -> list[Fragment]:
    simulator = make_simulator("boredom", 6, seed=1, noise="stream")
    agent = baseline("click_maximiser", simulator.spec, simulator.history, 3).agent
    collector = Collector(simulator, agent, 0)
    exploration = Exploration(0.3, temperature)
    return [
        collector.collect(16, exploration, stagger=stagger, policy_version=number)[0]
        for number in range(count)
    ]


@pytest.mark.parametrize("stagger", [0, 8])
def test_training_is_recorded_as_it_was_played(tmp_path: Path, stagger: int) -> None:
    played = fragments(4, stagger, 0.5)
    recorder = training_recorder(str(tmp_path), {"name": "boredom"}, "click_maximiser")(2)
    for fragment in played:
        recorder(fragment)
    rows = read(tmp_path)
    rewards = torch.cat([fragment.happened("reward") for fragment in played])
    finished = torch.cat([fragment.happened("terminated") for fragment in played])
    under_way = played[0].steps[0].observation.has_response[:, 0].bool()
    assert under_way.any() == (stagger > 0)
    # Of a session that is under way when recording begins the rest is left out.
    unknown = finished.long().argmax(dim=0) + 1
    assert len(rows) == rewards.numel() - int(unknown[under_way].sum())
    begins = torch.where(under_way, unknown, 0)
    user, first = int(begins.argmin()), int(begins.min())
    length = int(finished[first:, user].long().argmax()) + 1
    (name,) = {name for name in rows["session_id"] if name.endswith("-2-0")}
    session = rows.take(rows["session_id"] == name)
    assert session["reward"].tolist() == rewards[first : first + length, user].tolist()
    assert set(rows["policy_version"]) == {"0", "1", "2", "3"}
    stated = distribution(rows).slot_log_prob(torch.from_numpy(rows["slate"]))
    torch.testing.assert_close(stated, torch.from_numpy(rows["slot_log_propensities"]))


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="box actions"):
        training_recorder(str(tmp_path), {"name": "Pendulum-v1"}, "ppo")


def test_a_training_is_not_recorded_into_a_log_of_another_world(tmp_path: Path) -> None:
    training_recorder(str(tmp_path), {"name": "boredom"}, "slateq")
    training_recorder(str(tmp_path), {"name": "boredom"}, "slateq")
    with pytest.raises(LogError, match=r'holds a log of another world, \{"name": "boredom"\}; rec'):
        training_recorder(str(tmp_path), {"name": "boredom", "slate_size": 2}, "slateq")


def test_a_training_is_recorded_with_hashed_ids_where_there_is_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSIM_LOG_KEY", "0123456789abcdef")
    recorders = training_recorder(str(tmp_path), {"name": "boredom"}, "click_maximiser")
    assert b"0123456789abcdef" not in pickle.dumps(recorders)
    (fragment,) = fragments(1, 0, 0.5)
    recorders(2)(fragment)
    rows = read(tmp_path)
    assert all(len(name) == 32 and "-" not in name for name in rows["session_id"])
    key = Pseudonyms(b"0123456789abcdef")
    assert open_log(tmp_path).header.pseudonyms == key.mark
    monkeypatch.setenv("RECSIM_LOG_KEY", "another key of 16")
    with pytest.raises(LogError, match="RECSIM_LOG_KEY of runner 2 is not that of the process"):
        recorders(2)
    monkeypatch.delenv("RECSIM_LOG_KEY")
    with pytest.raises(LogError, match="RECSIM_LOG_KEY of runner 2 is not that of the process"):
        recorders(2)
    with pytest.raises(LogError, match="differ in 'pseudonyms', so they are not one log"):
        training_recorder(str(tmp_path), {"name": "boredom"}, "click_maximiser")


def test_training_records_where_its_config_says_so(tmp_path: Path) -> None:
    changes = {
        "env.name": "boredom",
        "train.env_steps": 1024,
        "train.users": 16,
        "train.fragment": 16,
        "train.evaluate_every": "null",
        "evaluate.users": 2,
        "slateq.hidden": "[8]",
        "slateq.stagger_steps": 0,
        "train.record": str(tmp_path / "log"),
    }
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    found = CliRunner().invoke(train, ["slateq", "--out", str(tmp_path / "run"), *words])
    assert found.exit_code == 0, found.output
    rows = read(tmp_path / "log")
    assert len(rows) == 1024 and set(rows["policy_version"]) == {"0", "1", "2", "3"}
    assert set(rows["policy"]) == {"slateq"} and (rows["log_propensity"] <= 0).all()


def test_an_unknown_recorder_is_refused(tmp_path: Path) -> None:
    words = ["--set", "train.record=log", "--set", "train.recorder=offline.recording:nothing"]
    found = CliRunner().invoke(train, ["slateq", "--out", str(tmp_path / "run"), *words])
    assert found.exit_code == 2
    assert "train.recorder is 'offline.recording:nothing'" in found.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_a_worker_that_cannot_write_says_so(tmp_path: Path, cluster: None, workers: int) -> None:
    (tmp_path / "file").touch()
    world = {"name": "boredom"}
    to = Destination(tmp_path / "file", header_of(world), "json", None)
    with pytest.raises(LogError, match=r"^cannot go on writing to .*file: (File|Not)"):
        list(play_all(tasks_of(1, 5), [random_target()], world, 3, to, workers))


def test_an_interrupted_task_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, world = random_target(), {"name": "boredom"}
    to = Destination(tmp_path, header_of(world), "json", None)
    first, second = tasks_of(1, 600)
    play(first, target, world, 3, to)
    write = LogWriter.write

    def interrupted(self: LogWriter, rows: Rows) -> None:
        write(self, rows.take(slice(7)))
        raise KeyboardInterrupt

    monkeypatch.setattr(LogWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        play(second, target, world, 3, to)
    assert {file.name for file in tmp_path.iterdir()} == {"log.json", "part-000000-00000.jsonl"}


def test_a_task_may_be_played_again(tmp_path: Path) -> None:
    target, world = random_target(), {"name": "boredom"}
    to = Destination(tmp_path, header_of(world), "json", None)
    (task,) = tasks_of(1, 5)
    once = play(task, target, world, 3, to)
    again = play(task, target, world, 3, to)
    assert (once.returns == again.returns).all() and len(read(tmp_path)) == again.rows


def test_a_lost_worker_is_one_sentence(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(reference: object) -> None:
        raise WorkerCrashedError

    monkeypatch.setattr("ray.get", lost)
    world = {"name": "boredom"}
    to = Destination(tmp_path, header_of(world), "json", None)
    with pytest.raises(LogError, match=r"^a worker of Ray was lost \(The worker died[^.]*\); the"):
        list(play_all(tasks_of(1, 5), [random_target()], world, 3, to, 1))
