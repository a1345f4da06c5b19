"""A log as RLlib's episodes: the same slates, observations and returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from envs.registry import make_simulator
from envs.views import FlatView, RecSimEnv
from offline.export import app
from offline.exporting.actions import actions, picks
from offline.exporting.rllib import export, returns_to_go
from offline.log import LogWriter, Rows, concatenate, open_log
from offline.record import app as record
from tests.offline.log.made import HEADER, make_rows


def write(folder: Path, *parts: Rows) -> Path:
    with LogWriter(folder, HEADER) as writer:
        for part in parts:
            writer.write(part)
    return folder


def run(log: Path, out: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [str(log), "--out", str(out), *words])


def test_slates_as_picks_by_hand() -> None:
    # Of 5: position 3, then 1 (second of 0 1 2 4), then 4 (third of 0 2 4).
    assert picks(np.array([[3, 1, 4], [0, 1, 2]])).tolist() == [[3, 1, 2], [0, 0, 0]]
    # 5 * 4 slates: position 3, then 4 as the fourth of the rest, is number 3 * 4 + 3.
    assert actions(np.array([[3, 4], [2, 0]]), 5).tolist() == [15, 8]
    # 40 * 39 slates are too many to number.
    assert actions(np.array([[3, 4]]), 40).tolist() == [[3, 3]]


@pytest.mark.parametrize(("candidates", "slots"), [(5, 2), (20, 3)])
def test_actions_are_those_of_the_flat_view(candidates: int, slots: int) -> None:
    size = {"num_candidates": candidates, "slate_size": slots}
    view = FlatView(RecSimEnv("interest_evolution", **size))
    slates = np.random.default_rng(0).random((50, candidates)).argsort(axis=1)[:, :slots]
    found = actions(slates, candidates)
    assert [view.slate(action).tolist() for action in found] == slates.tolist()


def test_observations_are_those_of_the_flat_view(tmp_path: Path) -> None:
    world = ["--set", "env.name=boredom", "--set", "env.slate_size=2", "--users", "3"]
    CliRunner().invoke(record, ["random", *world, "--out", str(tmp_path / "log")])
    assert run(tmp_path / "log", tmp_path / "out").exit_code == 0
    table = pq.read_table(tmp_path / "out")
    about = json.loads((tmp_path / "out" / "_rllib.json").read_text())
    view = FlatView(RecSimEnv("boredom", slate_size=2))
    assert view.observation_space.shape == (about["observation_size"],)
    assert isinstance(view.action_space, gymnasium.spaces.Discrete)
    assert about["action_space"] == {"discrete": int(view.action_space.n)}
    # Play the first session again: the same user meets the same luck.
    simulator = make_simulator("boredom", 1, seed=0, slate_size=2, replace=False)
    rows = concatenate(list(open_log(tmp_path / "log").sessions()))
    first = rows.take(rows["session_id"] == rows["session_id"][0])
    episode = table.slice(0, 1).to_pylist()[0]
    assert episode["rewards"] == first["reward"].tolist()
    slates = [view.slate(action).tolist() for action in episode["actions"]]
    assert slates == first["slate"].tolist()
    user, listed = (
        simulator.spec.user_size,
        simulator.num_candidates * simulator.spec.candidate_size,
    )
    seen = np.array(episode["obs"], np.float32)
    assert (seen[:, :user] == first["user"]).all()
    assert (seen[:, user : user + listed] == first["candidates"].reshape(len(first), -1)).all()
    answers = seen[:, user + listed : user + listed + first["response"][0].size]
    assert (answers[0] == 0).all()
    assert (answers[1:] == first["response"].reshape(len(first), -1)[:-1]).all()


def test_returns_to_go_by_hand() -> None:
    reward, begins = np.array([1.0, 2.0, 4.0, 8.0, 3.0]), np.array([0, 3])
    # 4; 2 + 4/2; 1 + 4/2 | 3; 8 + 3/2
    assert returns_to_go(reward, begins, 0.5).tolist() == [3.0, 4.0, 4.0, 9.5, 3.0]


def test_a_cut_session_ends_with_its_last_observation(tmp_path: Path) -> None:
    rows = make_rows(sessions=2, steps=3)
    ends = rows["terminated"] & (rows["session_id"] == "s0-0")
    log = write(
        tmp_path / "log", rows.replace(terminated=ends, truncated=rows["terminated"] & ~ends)
    )
    found = run(log, tmp_path / "out")
    assert "1 last steps of sessions that were cut" in found.stderr
    whole, cut = pq.read_table(tmp_path / "out").to_pylist()
    assert whole["terminateds"] == [False, False, True] and whole["truncateds"] == [False] * 3
    assert cut["terminateds"] == [False, False] and cut["truncateds"] == [False, True]
    assert cut["rewards"] == rows["reward"][3:5].tolist()
    assert np.allclose(cut["new_obs"][0][:3], rows["user"][5])  # seen before the step left out


def test_what_rllib_cannot_know_is_said(tmp_path: Path) -> None:
    rows = make_rows(sessions=1, steps=2)
    mask = rows["mask"].copy()
    mask[0, next(n for n in range(5) if n not in rows["slate"][0])] = False
    pinned = rows["pinned"].copy()
    pinned[1, 0] = rows["slate"][1, 0]
    greedy = rows["slate"]
    log = write(tmp_path / "log", rows.replace(mask=mask, pinned=pinned, greedy=greedy))
    found = run(log, tmp_path / "out")
    assert "1 rows had candidates that could not be shown" in found.stderr
    assert "1 rows had slots that were fixed from outside" in found.stderr


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    log = write(tmp_path / "log", make_rows())
    unended = make_rows()
    unended = unended.replace(terminated=np.zeros(len(unended), np.bool_))
    cases = [
        (run(log, tmp_path / "a", "--to", "csv"), "--to is 'csv'; allowed is: rllib"),
        (run(tmp_path / "none", tmp_path / "b"), "is no folder, file or pattern"),
        (run(log, log), "is there already; choose another folder"),
        (run(log, tmp_path / "c", "--returns", "1.5"), "it lies between 0 and 1"),
        (
            run(write(tmp_path / "cut", unended), tmp_path / "d", "--returns", "1"),
            "no session ended by itself",
        ),
        (
            run(
                write(tmp_path / "mixed", make_rows(), make_rows(candidates=4, seed=1)),
                tmp_path / "e",
            ),
            "rows with 4 and with 5 candidates",
        ),
        (
            run(write(tmp_path / "slots", make_rows(), make_rows(slots=1, seed=1)), tmp_path / "f"),
            "rows with 1 and with 2 slots",
        ),
    ]
    for found, sentence in cases:
        assert found.exit_code == 2 and sentence in found.stderr, found.output
        assert found.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "log", "mixed", "slots"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    log = write(tmp_path / "log", make_rows())
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    found = run(log, tmp_path / "out")
    assert found.exit_code == 2 and "No space left on device" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def targets(folder: Path, lstm: bool = False, gamma: float = 0.5) -> dict[str, Any]:
    """What stock MARWIL's pre-learner makes of an export, without Ray running."""
    from ray.rllib.algorithms.marwil import MARWILConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.offline.offline_prelearner import OfflinePreLearner
    from ray.rllib.utils import unflatten_dict

    config = stock(MARWILConfig(), folder).training(train_batch_size_per_learner=64, gamma=gamma)
    if lstm:
        model = DefaultModelConfig(use_lstm=True, max_seq_len=3, lstm_cell_size=8)
        config.rl_module(model_config=model)
    spaces = (config.observation_space, config.action_space)
    config.rl_module(
        rl_module_spec=config.get_multi_rl_module_spec(spaces={"default_policy": spaces})
    )
    learner = OfflinePreLearner(config=config, spaces=spaces)
    table = pq.read_table(folder)
    batch = {}
    for name in table.column_names:
        batch[name] = np.empty(len(table), object)
        batch[name][:] = table[name].to_pandas()
    found: dict[str, Any] = unflatten_dict(learner(batch))["default_policy"]
    return found


def stock(config: Any, folder: Path) -> Any:
    """The settings of docs/export.md."""
    about = json.loads((folder / "_rllib.json").read_text())
    (kind, size), *_ = about["action_space"].items()
    discrete = gymnasium.spaces.Discrete
    return config.environment(
        observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (about["observation_size"],)),
        action_space=discrete(size) if kind == "discrete" else gymnasium.spaces.MultiDiscrete(size),
    ).offline_data(
        input_=[str(folder)],
        input_read_sample_batches=True,
        input_read_batch_size=32,
        dataset_num_iters_per_learner=2,
    )


def one_session(folder: Path, returns: float | None = None) -> Path:
    """Rewards 1, 2, 4 of one session, exported."""
    rows = make_rows(sessions=1, steps=3).replace(reward=np.array([1, 2, 4], np.float32))
    export(open_log(write(folder / "log", rows)), folder / "out", returns)
    return folder / "out"


def by_reward(found: dict[str, Any]) -> dict[float, float]:
    """Value targets of the steps that are learned from, by their reward."""
    kept = np.asarray(found["loss_mask"]).astype(bool)
    reward, value = np.asarray(found["rewards"])[kept], np.asarray(found["value_targets"])[kept]
    return {round(float(r), 4): round(float(v), 4) for r, v in zip(reward, value, strict=True)}


def test_marwil_learns_returns_to_go_by_hand(tmp_path: Path) -> None:
    # Discount 0.5: 4; 2 + 4/2 = 4; 1 + 4/2 = 3. A stateful module sees the episode to its end.
    assert by_reward(targets(one_session(tmp_path), lstm=True)) == {1.0: 3.0, 2.0: 4.0, 4.0: 4.0}


def test_marwil_without_memory_learns_returns_where_they_are_the_rewards(tmp_path: Path) -> None:
    returns = one_session(tmp_path / "returns", returns=0.5)
    assert by_reward(targets(returns)) == {3.0: 3.0, 4.0: 4.0}


def test_marwil_without_memory_bootstraps_within_an_episode(tmp_path: Path) -> None:
    """Why --returns is there: RLlib's pre-learner cuts episodes into single steps."""
    found = by_reward(targets(one_session(tmp_path)))
    assert found[4.0] == 4.0  # the last step is its own return
    assert abs(found[2.0] - 2.0) < 1.5 and found[2.0] != 4.0  # 2 + V(next) / 2, V not trained


@pytest.mark.slow
@pytest.mark.parametrize(("name", "slate_size"), [("bc", 3), ("marwil", 1)])
def test_stock_learners_train(tmp_path: Path, cluster: None, name: str, slate_size: int) -> None:
    from ray.rllib.algorithms.bc import BCConfig
    from ray.rllib.algorithms.marwil import MARWILConfig

    size = ["--set", f"env.slate_size={slate_size}", "--set", "env.num_candidates=12"]
    words = ["random", *size, "--users", "20", "--out", str(tmp_path / "log")]
    CliRunner().invoke(record, words)
    assert run(tmp_path / "log", tmp_path / "out").exit_code == 0
    config = stock({"bc": BCConfig, "marwil": MARWILConfig}[name](), tmp_path / "out")
    algorithm = config.training(train_batch_size_per_learner=64).build_algo()
    try:
        learned = algorithm.train()["learners"]["default_policy"]
    finally:
        algorithm.stop()
    # Uniform slates: a policy that knows nothing has the loss log(12), or log(12 * 11 * 10).
    expected = np.log(12.0) if slate_size == 1 else np.log(12.0 * 11 * 10)
    if name == "bc":
        assert abs(learned["policy_loss"] - expected) < 0.5
    assert np.isfinite(learned["total_loss"])
