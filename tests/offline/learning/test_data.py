from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from offline.bc import BCAgent, BCSettings
from offline.learning import data
from offline.learning.data import Block, Feed, held_out
from offline.learning.order import counted_rows, fingerprint, in_order
from offline.learning.storage import Storage
from offline.log import LogError, Rows, open_log
from tests.offline.learning.conftest import numbered, write_shards
from tests.offline.log.made import HEADER, HISTORY, SPEC

ROOMY, TIGHT = 2**30, 12_000
"""Bytes: for all rows, and for about 70 of them."""


def make_agent() -> BCAgent:
    return BCAgent(SPEC, HISTORY, 2, BCSettings(hidden=(8,)).model_dump())


def make_feed(folder: Path, memory: int = ROOMY, holdout: float = 0.2, seed: int = 0) -> Feed:
    log = open_log(folder)
    return Feed(log, make_agent(), None, memory=memory, holdout=holdout, seed=seed)


def numbers(columns: dict[str, Tensor]) -> list[int]:
    return [int(number) for number in columns["user"][:, 0]]


def epoch(feed: Feed, number: int, first: int = 0) -> list[list[int]]:
    """Numbers of the rows of each block, in the order of minibatches of 7."""
    found = []
    for at, block in enumerate(feed.blocks(number, first), first):
        order = block.minibatches(7, (0, number, at))
        assert all(len(index) == 7 for index in order[:-1])
        found.append([n for index in order for n in numbers(block.take(index, ()))])
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BATCH", 30)


@pytest.mark.parametrize("memory", [ROOMY, TIGHT])
def test_every_row_is_drawn_once_an_epoch_and_none_that_is_held_out(
    shards: Path, memory: int
) -> None:
    feed = make_feed(shards, memory)
    assert feed.whole == (memory == ROOMY)
    rows = next(open_log(shards).batches(1000))
    out = held_out(rows["session_id"], 0.2)
    assert 0 < out.sum() < 150
    expected = sorted(rows["user"][~out, 0].astype(int).tolist())
    epochs = [epoch(feed, number) for number in range(3)]
    for blocks in epochs:
        assert sorted(n for block in blocks for n in block) == expected
        assert (len(blocks) == 1) == feed.whole
    assert epochs[0] != epochs[1]
    held = set(numbers(feed.held.columns)) if feed.held is not None else set()
    assert held and held <= set(rows["user"][out, 0].astype(int).tolist())
    if feed.whole:
        assert len(held) == out.sum() and feed.rows == (~out).sum()


@pytest.mark.parametrize("memory", [ROOMY, TIGHT])
def test_the_seed_alone_decides_the_order(shards: Path, memory: int) -> None:
    first, again = make_feed(shards, memory), make_feed(shards, memory)
    # The first epoch of one is never asked for, as when a run is resumed.
    epoch(first, 0)
    assert epoch(first, 1) == epoch(again, 1)
    assert epoch(make_feed(shards, memory, seed=1), 1) != epoch(again, 1) or memory == ROOMY


def test_an_epoch_can_be_entered_at_any_block(shards: Path) -> None:
    for number in (0, 1):
        whole = epoch(make_feed(shards, TIGHT), number)
        assert len(whole) > 2
        assert epoch(make_feed(shards, TIGHT), number, first=2) == whole[2:]


def test_blocks_mix_shards(shards: Path) -> None:
    blocks = [sorted({n // 1000 for n in b}) for b in epoch(make_feed(shards, TIGHT), 1)]
    orders = [tuple(map(tuple, blocks))]
    orders.append(
        tuple(tuple(sorted({n // 1000 for n in b})) for b in epoch(make_feed(shards, TIGHT), 2))
    )
    assert orders[0] != orders[1]


def test_memory_is_bounded_by_the_limit_and_not_by_the_log(shards: Path) -> None:
    for block in make_feed(shards, TIGHT).blocks(0):
        size = sum(v.numel() * v.element_size() for v in block.columns.values())
        assert size <= TIGHT


def test_rows_of_a_streamed_log_are_estimated(shards: Path) -> None:
    feed = make_feed(shards, TIGHT)
    exact = make_feed(shards).rows
    assert not feed.whole and abs(feed.rows - exact) < 0.2 * exact
    assert counted_rows(open_log(shards)) == 300


def test_the_logged_returns_are_of_whole_sessions(tmp_path: Path) -> None:
    rows = numbered(2, 3)
    reward = np.array([1, 2, 3, 4, 5, 6], np.float32)
    folder = write_shards(tmp_path / "log", [rows.replace(reward=reward).take(slice(5))])
    feed = make_feed(folder, holdout=0.0)
    # The second session has not ended.
    assert feed.returns.tolist() == [6.0]
    assert feed.rows == 5 and feed.held is None


def test_all_rows_held_out_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "log", [numbered(1)])
    with pytest.raises(LogError, match="no session to learn from"):
        make_feed(folder, holdout=0.999999)


def test_shards_that_share_sessions_are_only_turned(tmp_path: Path) -> None:
    rows = numbered(6, 4)
    steps = rows["step"]
    # As a training records: each shard goes on with all users.
    parts: list[Rows] = [rows.take(steps == step) for step in range(4)]
    log = open_log(write_shards(tmp_path / "log", parts))
    orders = set()
    for seed in range(20):
        names = [int(file.name[5:8]) for file, _ in in_order(log, (seed,)).shards]
        first = names[0]
        assert names == [*range(first, 4), *range(first)]
        orders.add(first)
    assert orders == {0, 1, 2, 3}
    assert make_feed(tmp_path / "log", 2000, 0.0).rows >= 1
    found = [n for b in epoch(make_feed(tmp_path / "log", 2000, 0.0), 3) for n in b]
    assert sorted(found) == list(range(24))


def test_the_following_row_comes_with_a_minibatch() -> None:
    columns = {"a": torch.arange(5.0), "b": 10 * torch.arange(5.0)}
    taken = Block(columns, torch.arange(5)).take(torch.tensor([3, 0, 4]), ("b",))
    assert taken["a"].tolist() == [3, 0, 4]
    assert taken["next_b"].tolist() == [40, 10, 40]
    assert "next_a" not in taken


def test_rows_that_are_not_to_be_drawn_stay_for_those_before_them(shards: Path) -> None:
    class Picky(BCAgent):
        def log_columns(self, rows: Rows) -> dict[str, Tensor]:
            drawn = torch.from_numpy(rows["user"][:, 0] % 2 == 0)
            return {**super().log_columns(rows), "drawn": drawn}

    agent = Picky(SPEC, HISTORY, 2, BCSettings(hidden=(8,)).model_dump())
    feed = Feed(open_log(shards), agent, None, memory=ROOMY, holdout=0.0, seed=0)
    found = epoch(feed, 0)[0]
    assert len(found) == 150 == feed.rows and all(number % 2 == 0 for number in found)
    assert len(next(feed.blocks(0)).columns["user"]) == 300


def test_storage_pads_to_the_largest_rows() -> None:
    storage = Storage(10_000)
    mask, slate = torch.ones((2, 2), dtype=torch.bool), torch.tensor([[1], [0]])
    assert storage.put({"mask": mask, "slate": slate, "x": torch.ones((2, 2, 1))})
    wide = {"mask": torch.ones((1, 3), dtype=torch.bool), "slate": torch.tensor([[2, 0]])}
    assert storage.put({**wide, "x": torch.ones((1, 3, 1))})
    found = storage.columns()
    assert found["mask"].tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert found["slate"].tolist() == [[1, -1], [0, -1], [2, 0]]
    assert found["x"].squeeze(2).tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]


def test_storage_refuses_what_it_has_no_room_for_but_not_the_first_rows() -> None:
    storage = Storage(40)
    assert storage.put({"x": torch.ones((20, 1))})  # 80 bytes
    assert not storage.put({"x": torch.ones((1, 1))})
    storage.clear()
    assert storage.put({"x": torch.ones((3, 1))}) and storage.rows == 3


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    HEADER.write(tmp_path / "log")
    with pytest.raises(LogError, match="is empty"):
        open_log(tmp_path / "log")


def test_rows_of_compressed_files_are_counted_as_far_as_they_go(shards: Path) -> None:
    files = sorted(shards.glob("*.jsonl"))
    whole = gzip.compress(files[0].read_bytes(), 1)
    for file in files:
        file.unlink()
    (shards / "part-0.jsonl.gz").write_bytes(whole)
    assert counted_rows(open_log(shards)) == 60
    (shards / "part-0.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert 0 < counted_rows(open_log(shards)) < 60


def test_a_file_that_is_gone_is_named(shards: Path) -> None:
    log = open_log(shards)
    gone = shards / "gone.jsonl"
    without = replace(log, shards=((gone, shards),))
    for asked in (fingerprint, counted_rows):
        with pytest.raises(LogError, match=r"gone\.jsonl cannot be read .No such file"):
            asked(without)


def test_slates_that_are_larger_than_the_first_ones_are_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "log", [numbered(20), numbered(20, seed=1, slots=3)])
    with pytest.raises(
        LogError, match=r"slates of 3 items.*have 2; start again with --set slate_s"
    ):
        make_feed(folder)


def test_more_memory_than_there_is(shards: Path) -> None:
    with pytest.raises(LogError, match=r"does not give the 1,000,000\.0 GB that train.memory_gb"):
        make_feed(shards, 10**6 * 2**30, holdout=0.0)
