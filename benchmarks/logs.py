"""Reading logs: rows per CPU-second by format, and peak memory by the length of the log."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.core import Benchmark, Numbers, Row, at_least, at_most, in_fresh_process
from envs.spec import FeatureSpec, number, vector
from offline.log import Header, LogWriter, Rows, open_log, write_catalogue

CANDIDATES, SLOTS, STEPS, ITEMS = 10, 3, 50, 1000
SPEC = FeatureSpec(
    user=(vector("user", 20),),
    candidate=(vector("item", 20),),
    response=(number("click", 0.0, 1.0), vector("rest", 3)),
)
HEADER = Header(SPEC, None)
_SHARD_ROWS = 50_000


def random_rows(count: int) -> Rows:
    """Whole sessions of dense features, about 3.3 kB of JSON a row."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return random.standard_normal((count, *shape), np.float32)

    def names(*parts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[str]:
        return ["-".join(map(str, row)) for row in zip(*parts, strict=True)]

    session, step = np.divmod(np.arange(count), STEPS)
    # One item of each hundred, so that a row's ids differ.
    items = random.integers(0, ITEMS // CANDIDATES, (count, CANDIDATES))
    items += np.arange(CANDIDATES) * (ITEMS // CANDIDATES)
    ids = np.array([f"item-{n}" for n in range(ITEMS)], object)[items]
    slate = random.random((count, CANDIDATES)).argsort(axis=1)[:, :SLOTS]
    slots = np.log(1.0 / np.arange(CANDIDATES, CANDIDATES - SLOTS, -1)).astype(np.float32)
    words = {"catalogue": "", "propensity_source": "exact", "policy": "random", "arm": ""}
    return Rows(
        {
            "session_id": np.array(names(session), object),
            "user_id": np.array(names(session), object),
            "step": step,
            "time": step.astype(np.float64),
            "impression_id": np.array(names(session, step), object),
            "user": normal(20),
            "candidate_ids": ids,
            "candidates": normal(CANDIDATES, 20),
            "mask": np.ones((count, CANDIDATES), np.bool_),
            "pinned": np.full((count, SLOTS), -1),
            "history": np.zeros((count, 0), np.float32),
            "slate": slate,
            "slate_ids": np.take_along_axis(ids, slate, axis=1),
            "log_propensity": np.full(count, slots.sum(), np.float32),
            "slot_log_propensities": np.tile(slots, (count, 1)),
            "log_weights": normal(CANDIDATES),
            "epsilon": np.ones(count),
            "temperature": np.zeros(count),
            "greedy": np.full((count, SLOTS), -1),
            "response": normal(SLOTS, 4),
            "reward": normal(),
            "terminated": step == STEPS - 1,
            "truncated": np.zeros(count, np.bool_),
            "policy_version": np.full(count, "0", object),
            **{name: np.full(count, word, object) for name, word in words.items()},
        }
    )


def make(kind: str, folder: Path, count: int) -> None:
    """A shard of a log: `json`, `digits` (17 of them, as other writers do), `parquet`, `ids`."""
    rows = random_rows(count)
    if kind == "ids":
        table = np.random.default_rng(1).standard_normal((ITEMS, 20), np.float32)
        version = write_catalogue(folder, [f"item-{n}" for n in range(ITEMS)], table)
        rows = rows.replace(
            candidates=np.full((count, CANDIDATES, 20), np.nan, np.float32),
            catalogue=np.full(count, version, object),
        )
    format = "parquet" if kind == "parquet" else "json"
    with LogWriter(folder, HEADER, format=format, shard_bytes=2**40) as writer:
        writer.write(rows)
    if kind == "digits":
        file = folder / "part-00000.jsonl"
        lines = [json.loads(line) for line in file.read_bytes().splitlines()]
        for line in lines:
            for name in ("user", "candidates", "log_weights", "response"):
                line[name] = np.array(line[name], np.float32).astype(np.float64).tolist()
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(folder: Path, times: int) -> tuple[int, float, float]:
    """Rows, CPU-seconds and peak memory in MB of reading a shard so many times as one log."""
    with linked(folder, times) as log:
        began, count = time.process_time(), 0
        for batch in open_log(log).batches():
            count += len(batch)
            batch.tensors()
        spent = time.process_time() - began
    return count, spent, peak_mb()


def peak_mb() -> float:
    """Peak resident memory of this process, in MB.

    Linux's own count of it: `ru_maxrss` begins with the memory of whoever started the process.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 2**10


def linked(folder: Path, times: int) -> tempfile.TemporaryDirectory[str]:
    """A log of a shard so many times."""
    space = tempfile.TemporaryDirectory(dir=folder.parent)
    for file in folder.iterdir():
        for copy in range(times if file.name.startswith("part-") else 1):
            name = f"{copy:04d}-{file.name}" if file.name.startswith("part-") else file.name
            os.link(file, Path(space.name) / name)
    return space


def learn(folder: Path, times: int) -> tuple[int, float, float]:
    """Rows, CPU-seconds and peak memory in MB of reading and one epoch of behaviour cloning.

    With the settings of `configs/offline/bc.yaml`, without what importing costs. Sessions
    of the copies have the same names, but none goes on from shard to shard.
    """
    import torch

    from offline.learning.config import load_config
    from offline.learning.data import Feed
    from offline.learning.source import make_agent, open_source
    from offline.learning.steps import LocalLearner

    torch.set_num_threads(1)
    with linked(folder, times) as log:
        config = load_config("bc", None, ["train.epochs=1"], {"data": [log]})
        began = time.process_time()
        source = open_source(config)
        agent = make_agent(config, source)
        memory = int(config.train.memory_gb * 2**30)
        feed = Feed(source.log, agent, None, memory=memory, holdout=0.0, seed=0)
        learner = LocalLearner(agent, -(-feed.rows // agent.options.minibatch_size))
        count = 0
        for number, block in enumerate(feed.blocks(0)):
            order = block.minibatches(agent.options.minibatch_size, (0, 0, number))
            learner.learn(block, order)
            count += sum(map(len, order))
        spent = time.process_time() - began
    return count, spent, peak_mb()


def measure_learning(quick: bool) -> Numbers:
    """One epoch over 1 M rows of JSON and Parquet, and over 5 M of Parquet for the memory."""
    rows, times = (1000, 2) if quick else (_SHARD_ROWS, 20)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as space:
        for kind in ("json", "parquet"):
            make(kind, Path(space) / kind, rows)
            count, spent, memory = in_fresh_process(learn, Path(space) / kind, times)
            found[kind] = round(count / spent)
            found[f"{kind}_mb"] = round(memory, 1)
        longer = in_fresh_process(learn, Path(space) / "parquet", 5 * times)[2]
    return {
        **found,
        "parquet_5_mb": round(longer, 1),
        "growth": round(longer / found["parquet_mb"], 3),
    }


def measure(quick: bool) -> Numbers:
    """Read 1 M rows in each format, and 5 M of JSON for the memory."""
    rows, times = (1000, 2) if quick else (_SHARD_ROWS, 20)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as space:
        for kind in ("json", "digits", "parquet", "ids"):
            folder = Path(space) / kind
            make(kind, folder, rows)
            shard = next(folder.glob("part-*"))
            count, spent, memory = in_fresh_process(read, folder, times)
            found[kind] = round(count / spent)
            found[f"{kind}_row_bytes"] = round(shard.stat().st_size / rows)
            found[f"{kind}_mb"] = round(memory, 1)
        longer = in_fresh_process(read, Path(space) / "json", 5 * times)[2]
    return {**found, "json_5_mb": round(longer, 1), "growth": round(longer / found["json_mb"], 3)}


def _speed(kind: str) -> Row:
    words, must, aim = {
        "json": ("10 candidates of 20 features inline, JSON", 8_000, 35_000),
        "digits": ("the same with the 17 digits that other writers write", 8_000, 35_000),
        "parquet": ("the same as Parquet", 150_000, 250_000),
        "ids": ("the same as JSON with ids and a catalogue", 40_000, 100_000),
    }[kind]

    def in_words(numbers: Numbers) -> str:
        return f"{numbers[kind]:,} rows/CPU-s ({numbers[f'{kind}_row_bytes']:,} bytes a row)"

    return Row(
        f"reading a log of 1 M rows to tensors, {words}",
        in_words,
        at_least(f"{must:,}", kind, must),
        at_least(f"{aim:,}", kind, aim),
    )


def _learning(kind: str) -> Row:
    words, must, aim = {
        "json": ("JSON", 7_000, 30_000),
        "parquet": ("Parquet", 60_000, 120_000),
    }[kind]
    return Row(
        f"inline features, reading 1 M rows and one epoch of behaviour cloning, {words}",
        lambda numbers: f"{numbers[kind]:,} rows/CPU-s ({numbers[f'{kind}_mb']:,.0f} MB)",
        at_least(f"{must:,}", kind, must),
        at_least(f"{aim:,}", kind, aim),
    )


BENCHMARKS = (
    Benchmark(
        "logs",
        "reading logs: rows per CPU-second, and memory by length",
        measure,
        (
            *map(_speed, ("json", "digits", "parquet", "ids")),
            Row(
                "peak memory of reading 5 M rows against 1 M",
                lambda numbers: f"{numbers['growth']:.2f} times ({numbers['json_5_mb']:.0f} MB)",
                at_most("1.1 times", "growth", 1.1),
            ),
        ),
    ),
    Benchmark(
        "logs_bc",
        "reading logs and one epoch of behaviour cloning: rows per CPU-second, and memory",
        measure_learning,
        (
            *map(_learning, ("json", "parquet")),
            Row(
                "peak memory of learning from 5 M rows of Parquet against 1 M",
                lambda numbers: f"{numbers['growth']:.2f} times ({numbers['parquet_5_mb']:.0f} MB)",
                at_most("1.1 times", "growth", 1.1),
            ),
        ),
    ),
)
