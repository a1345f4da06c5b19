"""Whole passes over an endpoint's folder, in this process and without Ray."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from offline.learning import result
from offline.learning.steps import LearningError
from offline.log import LogError, open_log
from offline.slateq import OfflineSlateQAgent
from serve import cycle
from serve.cycling import comparing, judging, passing, training
from serve.cycling.keeping import alone
from serve.deploy import deploy
from serve.live import DeployError, read_pointer
from serve.state import prepare
from tests.serve.cycled import SMALL, WORLD, do_pass, endpoint, small, visit

NEAR = ("explore.epsilon=0.9", "judge.min_effective=5", "holdout=0.5")
"""Settings under which a log of random slates can judge a candidate."""

BETTER, WORSE = "judge.bound=-100", "judge.bound=100"
"""What is better than the live policy, by decree."""


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the training take longer than all the rest of a small pass."""
    monkeypatch.setattr(result, "draw", lambda *args: None)


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder of `random` with 150 sessions."""
    state = tmp_path_factory.mktemp("cycle") / "serving"
    with endpoint(state) as app:
        visit(app, 150, 1)
    return state


@pytest.fixture
def state(visited: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test to change."""
    return Path(shutil.copytree(visited, tmp_path / "serving"))


def arms(state: Path) -> list[tuple[str, str, float]]:
    found = read_pointer(state)
    assert found is not None
    return [(arm.name, arm.policy.split("/")[1].split("-")[0], arm.weight) for arm in found.arms]


def generation(state: Path) -> int:
    found = read_pointer(state)
    assert found is not None
    return found.generation


def report_of(state: Path, number: int) -> str:
    return (state / "cycles" / f"{number:04d}" / "report.md").read_text()


def test_passes_while_the_endpoint_serves(state: Path) -> None:
    """A canary, its promotion, and the next one, each taken by the running replica."""
    with endpoint(state) as app:
        found = do_pass(state)
        assert found["decision"]["fate"] == "canary" and found["deployed"]["replicas"] == 1
        assert arms(state) == [("main", "random", 0.8), ("canary", "slateq", 0.2)]
        played = visit(app, 150, 2)
        shown = played.by_arm()
        assert set(shown) == {"main", "canary"} and shown["canary"]["sessions"] >= 15
        found = do_pass(state, BETTER)
        assert found["canary"]["fate"] == "promote"
        # Both arms' sessions since the canary began, and no earlier ones.
        counts = found["canary"]["compared"]
        assert counts["canary"] == shown["canary"]["sessions"]
        assert counts["canary"] + counts["live"] == 150
        gap = counts["difference"]["value"]
        means = {arm: part["return"]["mean"] for arm, part in shown.items()}
        assert gap == pytest.approx(means["canary"] - means["main"])
        assert [name for name, _, _ in arms(state)] == ["main", "canary"]
        assert [policy for _, policy, _ in arms(state)] == ["slateq", "slateq"]
        played = visit(app, 40, 3)
        assert played.by_arm()["main"]["sessions"] > played.by_arm()["canary"]["sessions"] > 0
    # What was deployed explores, so that the next log can judge: probabilities below 1.
    found = do_pass(state)
    rows = next(open_log(state / "cycles" / "0003" / "log").batches())
    assert set(rows["arm"].tolist()) == {"main", "canary"}
    assert (rows["epsilon"] == 0.1).all() and (rows["slot_log_propensities"] < 0).all()
    assert len(rows["step"]) == played.answers  # only what came since the last pass


def test_reports_say_what_was_done_and_why(state: Path) -> None:
    found = do_pass(state)
    text = report_of(state, 1)
    for words in (
        "# Pass 1\n",
        "on trial with 20% of the sessions.",
        "in 150 sessions up to",
        "Live: random-0-",
        "beginning with fresh weights.",
        "judge.min_effective is 100, so 20% of the sessions try it.",
        f"| sessions | {found['judged']['sessions']} |",
        "| difference a session, sequential doubly robust |",
        "| diversity | ",
        "Deployment 2, taken by 0 running replicas",
        "- canary, weight 0.2: slateq-40-",
    ):
        assert words in text
    kept = json.loads((state / "cycles" / "0001" / "report.json").read_text())
    assert kept == found
    assert 10 <= kept["judged"]["sessions"] <= 50  # a fifth of 150
    assert kept["training"]["rows"] < kept["joined_rows"]["impressions"]["written"]
    assert not list((state / "cycles").rglob("*.partial"))


@pytest.mark.parametrize(
    ("settings", "fate"),
    [
        ((*NEAR, BETTER), "deploy"),
        (NEAR, "keep"),
        ((*NEAR, WORSE), "keep"),
        ((BETTER, "explore.epsilon=0.9"), "canary"),  # judge.min_effective is 100
        ((BETTER, "explore.epsilon=0.9", "canary.share=null"), "keep"),
        ((*NEAR, BETTER, "judge.min_sessions=200"), "keep"),
        ((*NEAR, BETTER, "guards.diversity=5"), "keep"),
        ((*NEAR, BETTER, "guards.diversity=null"), "deploy"),
    ],
)
def test_settings_decide(state: Path, settings: tuple[str, ...], fate: str) -> None:
    found = do_pass(state, *settings)
    assert found["decision"]["fate"] == fate
    expected = {
        "deploy": [("main", "slateq", 1.0)],
        "keep": [("main", "random", 1.0)],
        "canary": [("main", "random", 0.8), ("canary", "slateq", 0.2)],
    }
    assert arms(state) == expected[fate]
    assert generation(state) == (1 if fate == "keep" else 2)


STAGES: dict[str, Any] = {
    "join": passing,
    "train": training,
    "save_exploring": training,
    "judged": judging,
    "copy_policy": passing,
    "point": passing,
    "await_replicas": passing,
    "as_text": passing,
}
CRASHES = [
    ("join", "before"),
    ("join", "after"),
    ("train", "before"),
    ("train", "after"),
    ("save_exploring", "after"),
    ("judged", "before"),
    ("copy_policy", "after"),
    ("point", "before"),
    ("point", "after"),
    ("await_replicas", "before"),
    ("as_text", "after"),
]


@pytest.mark.parametrize(("name", "when"), CRASHES)
def test_a_crash_in_any_stage_is_made_good(
    state: Path, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    done: Callable[..., Any] = getattr(STAGES[name], name)

    def crash(*args: Any, **given: Any) -> None:
        if when == "after":
            done(*args, **given)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(STAGES[name], name, crash)
        with pytest.raises(MemoryError):
            do_pass(state, *NEAR, BETTER)
    found = do_pass(state, *NEAR, BETTER)
    assert found["pass"] == 1 and found["deployed"]["done"]
    assert arms(state) == [("main", "slateq", 1.0)] and generation(state) == 2
    assert len(list((state / "policies").glob("slateq-*"))) == 1
    assert [path.name for path in (state / "cycles").glob("[0-9d]*")] == ["0001"]


def test_done_stages_are_not_done_again(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passing, "point", raising(MemoryError()))
        with pytest.raises(MemoryError):
            do_pass(state)
    for name in ("join", "train", "save_exploring", "judged", "copy_policy"):
        monkeypatch.setattr(STAGES[name], name, raising(AssertionError(f"{name} again")))
    assert do_pass(state)["deployed"]["done"]


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **given: Any) -> None:
        raise error

    return fail


def test_nothing_is_deployed_over_what_somebody_else_deployed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passing, "point", raising(MemoryError()))
        with pytest.raises(MemoryError):
            do_pass(state)
    deploy(state, "click_maximiser", None, "canary", False)
    found = do_pass(state)
    assert found["deployed"]["overtaken"] and found["memory"]["canary"] is None
    assert arms(state) == [("main", "click_maximiser", 1.0)]
    assert "somebody else deployed" in report_of(state, 1)


def test_what_a_running_replica_cannot_load_is_taken_back(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serve import replica

    load = replica.load_live

    def failing(folder: Path, header: Any, pointer: Any) -> Any:
        if pointer.generation == 2:
            raise DeployError("no memory for it")
        return load(folder, header, pointer)

    monkeypatch.setattr(replica, "load_live", failing)
    with endpoint(state) as app:
        found = do_pass(state)
        assert found["deployed"]["faults"] == ["no memory for it"]
        assert arms(state) == [("main", "random", 1.0)] and found["memory"]["canary"] is None
        assert "taken back, because a replica could not take it" in report_of(state, 1)
        # A crash between taking it back and writing that down.
        for name in ("deployed.json", "report.json", "report.md"):
            (state / "cycles" / "0001" / name).unlink()
        again = do_pass(state)
        assert again["pass"] == 1 and not again["deployed"]["overtaken"]
        assert again["deployed"]["faults"] == ["a replica could not take it"]
        assert again["memory"] == found["memory"] and generation(state) == 3
        assert set(visit(app, 40, 2).by_arm()) == {"main"}
        assert do_pass(state)["deployed"]["replicas"] == 1  # the next one is tried


def test_a_canary_is_kept_on_withdrawn_or_was_taken_away(state: Path) -> None:
    do_pass(state)
    with endpoint(state) as app:
        visit(app, 60, 2)
    more = ("canary.min_sessions=40", "canary.most_passes=2")
    found = do_pass(state, *more)
    assert found["canary"]["fate"] == "keep_on" and generation(state) == 2
    assert "training" not in found
    with endpoint(state) as app:
        visit(app, 60, 3)
    found = do_pass(state, *more, "canary.share=null")
    # Sessions of both passes count; the second look is the last.
    assert sum(found["canary"]["compared"][arm] for arm in ("canary", "live")) == 120
    assert found["canary"]["fate"] == "withdraw" and arms(state) == [("main", "random", 1.0)]
    assert found["training"]["init"] is None  # and not the weights that lost
    with endpoint(state) as app:
        visit(app, 60, 4)
    assert do_pass(state)["decision"]["fate"] == "canary"
    deploy(state, "random", None, "canary", False)
    with endpoint(state) as app:
        visit(app, 60, 5)
    found = do_pass(state)
    assert found["canary"] is None and "taken away outside of the cycle" in found["note"]


def test_what_is_learned_from(state: Path) -> None:
    do_pass(state, "canary.share=null")
    for number, changes, logs, init in (
        (2, (), 2, "cycles/0001/run"),
        (3, ("learn_from=1", "warm_start=false"), 1, None),
        (4, ("learn_from=2", "learn.slateq.hidden=[8]"), 2, None),  # the weights do not fit
    ):
        with endpoint(state) as app:
            visit(app, 60, number)
        found = do_pass(state, "canary.share=null", *changes)
        assert found["joined_rows"]["sessions"]["written"] == 60
        assert (found["training"]["logs"], found["training"]["init"]) == (logs, init)
        assert found["training"]["seed"] == number - 1
    found = do_pass(state, "join.window=24h", "learn_from=1", "learn.slateq.hidden=[8]")
    assert found["joined_rows"]["sessions"]["written"] == 330
    assert found["training"]["init"] == "cycles/0004/run"


def test_a_dry_run_deploys_nothing_and_is_no_pass(state: Path) -> None:
    found = do_pass(state, dry_run=True)
    assert found["decision"]["fate"] == "canary" and not found["deployed"]["done"]
    assert generation(state) == 1 and arms(state) == [("main", "random", 1.0)]
    words = (state / "cycles" / "dry-0001" / "report.md").read_text()
    assert "Dry run, nothing deployed: candidate slateq-40-" in words
    assert do_pass(state, dry_run=True)["pass"] == 1
    found = do_pass(state)
    assert found["pass"] == 1 and found["joined_rows"]["sessions"]["written"] == 150


def test_open_sessions_judge_with_what_they_have_earned(state: Path) -> None:
    over = do_pass(state, dry_run=True)
    now = passing.Pass(state, small(), None, True).run()
    written = now["joined_rows"]["sessions"]
    assert written["truncated"] == written["written"] == 150  # none is over yet
    assert now["judged"]["sessions"] == over["judged"]["sessions"] > 0
    assert now["judged"]["difference"] is not None


def test_broken_candidates_are_never_deployed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = training.save_exploring

    def ruined(run: Path, wanted: Any, out: Path) -> Any:
        policy = save(run, wanted, out)
        with torch.no_grad():
            next(policy.agent.parameters()).fill_(float("nan"))
        policy.save(out)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_exploring", ruined)
        found = do_pass(state, *NEAR, BETTER)
    assert "non-finite weights" in found["decision"]["why"] and generation(state) == 1
    assert "\nA candidate: slateq from " in report_of(state, 1)
    with endpoint(state) as app:
        visit(app, 60, 2)
    monkeypatch.setattr(training, "train", raising(LearningError("the loss is no number")))
    found = do_pass(state, *NEAR, BETTER)
    assert found["decision"] == {"fate": "keep", "why": "none: the loss is no number"}
    assert generation(state) == 1
    # The next training begins with weights that were whole, or afresh.
    assert found["memory"]["run"] is None


def test_the_live_policy_under_another_name_is_not_deployed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_pass(state, *NEAR, BETTER)
    live = read_pointer(state)
    assert live is not None
    with endpoint(state) as app:
        visit(app, 150, 2)

    def copied(run: Path, wanted: Any, out: Path) -> None:
        shutil.copytree(state / live.arms[0].policy, out, dirs_exist_ok=True)

    def renamed(run: Path, wanted: Any, out: Path) -> None:
        copied(run, wanted, out)
        about = json.loads((out / "policy.json").read_text())
        (out / "policy.json").write_text(json.dumps({**about, "version": 7}))

    for copy, why in ((renamed, "not known to earn more"), (copied, "it is the live policy")):
        shutil.rmtree(state / "cycles" / "0002", ignore_errors=True)
        monkeypatch.setattr(training, "save_exploring", copy)
        found = do_pass(state, *NEAR, "judge.bound=0")
        assert found["decision"]["fate"] == "keep" and why in found["decision"]["why"]
        if copy is renamed:  # what it did in the same sessions, by the same model
            gap = found["judged"]["difference"]
            assert gap["value"] == gap["low"] == gap["high"] == 0
    assert generation(state) == 2


def test_held_out_sessions_have_not_been_learned_from(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever learns from a session is not judged by it: the two hashes agree."""
    columns, find = OfflineSlateQAgent.log_columns, judging.held_out_of
    learned: set[str] = set()
    judged: set[str] = set()

    def noting(self: Any, rows: Any) -> Any:
        learned.add(",".join(sorted(set(rows["session_id"].tolist()))))
        return columns(self, rows)

    def found(*args: Any) -> Any:
        log = find(*args)
        for rows in log.sessions(columns=("policy_version",)):
            judged.update(rows["session_id"].tolist())
        return log

    monkeypatch.setattr(OfflineSlateQAgent, "log_columns", noting)
    monkeypatch.setattr(judging, "held_out_of", found)
    do_pass(state)
    # The learner is handed those to learn from and those that only test, apart.
    parts = sorted((set(names.split(",")) for names in learned), key=len)
    assert len(parts) == 2 and parts[0] == judged
    assert len(parts[1]) + len(judged) == 150 and not parts[1] & judged


run = CliRunner()


def options(*more: str) -> list[str]:
    return [word for text in (*SMALL, *more) for word in ("--set", text)]


def test_the_command(state: Path) -> None:
    later = str(time.time() + 3600)
    done = run.invoke(cycle.app, [str(state), "--until", later, *options()])
    assert done.exit_code == 0, done.output
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"{state}/cycles/0001/report.md: candidate slateq-40-")
    with endpoint(state) as app:
        visit(app, 60, 2)
    flags = ["--json", "--dry-run", "--until", str(float(later) + 60)]
    done = run.invoke(cycle.app, [str(state), *flags, *options()])
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["report"].endswith("cycles/dry-0002/report.md") and found["pass"] == 2


def test_mistakes_end_in_a_sentence(state: Path, tmp_path: Path) -> None:
    for words, says in (
        ([str(tmp_path / "none")], "holds no endpoint; begin one with"),
        ([str(state), "--set", "judge.bond=1"], "unknown key 'judge.bond'"),
        ([str(state), "--every", "soon"], "'soon' is no duration"),
        ([str(state), "--every", "0s"], "--every leaves no time between passes"),
        ([str(state), "--every", "6h", "--dry-run"], "leave --every out"),
        ([str(state), "--every", "6h", "--until", "5"], "leave --until out"),
        ([str(state), "--config", "none.yaml"], "cannot read the config none.yaml"),
        ([str(state), "--until", "5"], "nothing is left to write"),
    ):
        done = run.invoke(cycle.app, words)
        assert done.exit_code == 2 and says in done.stderr, (words, done.output)
        assert len(done.stderr.splitlines()) <= 2 and "Traceback" not in done.output
    assert not (tmp_path / "none").exists()
    with alone(state):
        done = run.invoke(cycle.app, [str(state)])
    assert done.exit_code == 2 and "is at work on" in done.stderr
    deploy(state, "click_maximiser", 0.5, "mine", False)
    done = run.invoke(cycle.app, [str(state)])
    assert done.exit_code == 2 and "arms that the cycle did not make" in done.stderr
    assert generation(state) == 2


def test_an_endpoint_that_nobody_asked(tmp_path: Path) -> None:
    prepare(tmp_path / "new", "random", WORLD)
    done = run.invoke(cycle.app, [str(tmp_path / "new")])
    assert done.exit_code == 2 and "let the endpoint answer first" in done.stderr


def test_stopped_passes_go_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(passing.training, "train", interrupted)
        done = run.invoke(cycle.app, [str(state), *options()])
    assert done.exit_code == 130 and "the next pass goes on" in done.stderr
    monkeypatch.setattr(passing, "join", raising(AssertionError("joined again")))
    assert run.invoke(cycle.app, [str(state), *options()]).exit_code == 0


def interrupted(*args: Any) -> None:
    raise KeyboardInterrupt


def test_a_full_disk_ends_in_a_sentence(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", raising(OSError(28, "No space left on device")))
        done = run.invoke(cycle.app, [str(state), *options()])
    assert done.exit_code == 2 and "No space left on device; the next pass goes on" in done.stderr
    assert run.invoke(cycle.app, [str(state), *options()]).exit_code == 0


def test_repeated_passes_go_on_after_one_that_cannot_be(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    results: Iterator[Any] = iter([LogError("the disk is full"), None])

    def one(*args: Any) -> None:
        fault = next(results)
        if fault is not None:
            raise fault

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(cycle, "one", one)
    monkeypatch.setattr(cycle.time, "sleep", sleep)
    done = run.invoke(cycle.app, [str(state), "--every", "6h"])
    assert done.exit_code == 0 and "the disk is full" in done.stderr
    assert len(waited) == 2 and all(21_000 < seconds <= 21_600 for seconds in waited)


def test_sizes_of_slates_that_differ_from_request_to_request(state: Path) -> None:
    """Rows of other sizes cannot judge, but stop nothing."""
    with endpoint(state) as app:
        visit(app, 40, 2, {**WORLD, "slate_size": 2})
    found = do_pass(state, *NEAR, BETTER)
    assert "slates of 3, but the log has slates of 2" in found["judged"]["refusal"]
    assert found["decision"]["fate"] == "canary"
    assert found["guards"][1]["candidate"] > 0


def test_comparing_needs_no_candidate_columns() -> None:
    assert set(comparing.COLUMNS) == {"session_id", "user_id", "time", "arm", "reward"}
    assert small("canary.share=0.3").canary.share == 0.3
