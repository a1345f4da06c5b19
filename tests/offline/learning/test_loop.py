"""Runs that were stopped end with the same numbers as those that were not."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from algorithms.accounting import Clock
from algorithms.policy import Policy
from algorithms.run import RunError
from algorithms.training import Interrupted
from offline.learning import data, loop
from offline.learning.config import load_config
from offline.learning.loop import OfflineTraining
from offline.learning.run import OfflineRun, create_run, read_run
from offline.log import LogWriter
from tests.offline.learning.conftest import numbered
from tests.offline.log.made import HEADER

MEMORY = {"whole": 1.0, "streamed": 12_000 / 2**30}
TIMES = ("wall_seconds", "train_cpu_seconds", "updates_per_second")


class Stops:
    """Asks to stop at the look of this number."""

    def __init__(self, after: int | None = None) -> None:
        self._left = after
        self.asked = False

    def update(self, steps: int, speed: float, mean_return: float) -> None:
        if self._left is not None:
            self._left -= 1
            self.asked = self._left <= 1

    def check(self) -> None:
        if self.asked:
            raise Interrupted


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BATCH", 30)


def new_run(name: str, log: Path, out: Path, *overrides: str) -> OfflineRun:
    settings = [
        "train.epochs=4",
        "train.evaluate_every=7",
        "train.checkpoint_every=11",
        f"{name}.minibatch_size=16",
        f"{name}.hidden=[8]",
        *overrides,
    ]
    return create_run(load_config(name, None, settings, {"data": [str(log)]}), None, out)


def train(run: OfflineRun, stop: int | None = None, resume: bool = False) -> OfflineTraining:
    training = OfflineTraining(run, run.latest() if resume else None, Clock({"read": 0.0}))
    stops = Stops(stop)
    try:
        training.loop(stops, stops)
    finally:
        training.close()
    return training


def metrics(run: OfflineRun) -> list[dict[str, Any]]:
    with run.metrics.open() as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def weights(run: OfflineRun) -> bytes:
    return (run.latest().path / "policy" / "policy.safetensors").read_bytes()


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("name", ["bc", "marwil"])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    name: str, memory: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = f"train.memory_gb={MEMORY[memory]!r}"
    whole = new_run(name, shards, tmp_path / "whole", limit)
    finished = train(whole)
    assert finished.feed.whole == (memory == "whole")
    monkeypatch.setattr(loop, "CHUNK", 3)
    cut = new_run(name, shards, tmp_path / "cut", limit)
    stopped = []
    for stop in (2, 3, 4):
        with pytest.raises(Interrupted):
            train(cut, stop, resume=stop != 2)
        stopped.append(cut.latest().state["updates"])
    assert 0 < stopped[0] < stopped[1] < stopped[2] < finished.learner.updates
    assert any(updates % 7 and updates % 11 for updates in stopped)  # within everything
    resumed = train(read_run(cut.path), resume=True)
    assert resumed.learner.updates == finished.learner.updates
    assert (
        resumed.used
        == finished.used
        == 4 * sum(len(block.drawn) for block in finished.feed.blocks(0))
    )
    assert weights(cut) == weights(whole)
    assert metrics(cut) == metrics(whole)


def test_the_budget_ends_at_what_comes_first(shards: Path, tmp_path: Path) -> None:
    run = new_run("bc", shards, tmp_path / "a", "train.updates=5")
    assert train(run).learner.updates == 5
    longer = new_run("bc", shards, tmp_path / "b", "train.epochs=1", "train.updates=1000")
    training = train(longer)
    assert training.learner.updates == -(-training.feed.rows // 16)


def test_the_best_weights_are_those_of_the_lowest_held_out_loss(
    shards: Path, tmp_path: Path
) -> None:
    # Random slates: every step away from the beginning is one too many.
    overrides = ("train.epochs=30", "train.select=best", "bc.lr=0.05")
    run = new_run("bc", shards, tmp_path / "run", *overrides)
    training = train(run)
    losses = {int(row["updates"]): float(row["held_out/loss"]) for row in metrics(run)}
    assert training.best is not None
    best = min(losses, key=losses.__getitem__)
    assert training.best["updates"] == best < training.learner.updates
    assert training.chosen().version == best
    last = train(new_run("bc", shards, tmp_path / "last", *overrides[:1], "train.select=last"))
    assert last.chosen().version == last.learner.updates


def test_another_log_is_not_continued_with(shards: Path, tmp_path: Path) -> None:
    run = new_run("bc", shards, tmp_path / "run")
    with pytest.raises(Interrupted):
        train(run, 3)
    with LogWriter(shards, HEADER, name="more") as writer:
        writer.write(numbered(4, seed=77))
    with pytest.raises(RunError, match="is not what it was when the run"):
        train(run, resume=True)


def test_another_seed_gives_other_weights(shards: Path, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        run = new_run("bc", shards, tmp_path / str(number), f"seed={seed}", "train.updates=3")
        train(run)
        found.append(weights(run))
    assert found[0] == found[1] != found[2]


def test_weights_of_another_run_are_begun_with(shards: Path, tmp_path: Path) -> None:
    first = new_run("bc", shards, tmp_path / "first")
    policy = train(first).policy()
    policy.save(first.policy)
    config = load_config(
        "bc",
        None,
        ["train.updates=1", "bc.hidden=[8]", "bc.lr=1e-12"],
        {"data": [str(shards)], "init": str(first.path), "seed": 9},
    )
    second = train(create_run(config, None, tmp_path / "second")).policy()
    expected = Policy.load(first.path).agent.state_dict()
    for name, value in second.agent.state_dict().items():
        assert (value - expected[name]).abs().max() < 1e-6


def test_a_resumed_run_does_not_look_for_what_it_began_with(shards: Path, tmp_path: Path) -> None:
    first = new_run("bc", shards, tmp_path / "first", "train.updates=2")
    train(first).policy().save(first.policy)
    second = new_run("bc", shards, tmp_path / "second", f"init={first.path}")
    with pytest.raises(Interrupted):
        train(second, 3)
    shutil.rmtree(first.path)
    assert train(second, resume=True).learner.updates > 3


def test_no_row_of_metrics_is_written_twice(shards: Path, tmp_path: Path) -> None:
    # Nothing is held out, and the budget ends with a row.
    none = ("train.holdout=0", "train.select=last", "train.updates=14", "train.evaluate_every=7")
    run = new_run("bc", shards, tmp_path / "none", *none)
    train(run)
    assert [row["updates"] for row in metrics(run)] == ["7", "14"]
    # A run that is stopped after its last update has its last row already.
    late = new_run("bc", shards, tmp_path / "late", "train.updates=10")
    train(late)
    before = metrics(late)
    train(late, resume=True)
    assert metrics(late) == before and [row["updates"] for row in before] == ["7", "10"]


def test_a_log_of_the_same_size_with_other_content_is_not_continued_with(
    shards: Path, tmp_path: Path
) -> None:
    run = new_run("bc", shards, tmp_path / "run")
    with pytest.raises(Interrupted):
        train(run, 3)
    file = sorted(shards.glob("*.jsonl"))[-1]
    before = file.read_bytes()
    file.write_bytes(before.replace(b"random", b"rundom", 1))
    assert len(file.read_bytes()) == len(before)
    with pytest.raises(RunError, match="is not what it was when the run"):
        train(run, resume=True)
    file.write_bytes(before)
    assert train(run, resume=True).learner.updates > 3


def test_reports_checkpoints_and_threads_are_as_many_as_asked_for(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(loop.torch, "set_num_threads", threads.append)
    plan = ("train.updates=9", "train.evaluate_every=4", "train.checkpoint_every=2")
    for kept, expected in ((1, [9]), (3, [6, 8, 9])):
        more = (f"train.keep_checkpoints={kept}", f"train.torch_threads={kept}")
        run = new_run("bc", shards, tmp_path / str(kept), *plan, *more)
        train(run)
        names = sorted(path.name for path in run.checkpoints.glob("step-*"))
        assert [int(name.removeprefix("step-")) for name in names] == expected
        assert [row["updates"] for row in metrics(run)] == ["4", "8", "9"]
    assert threads == [1, 3]
