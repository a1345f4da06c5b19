"""All ranking metrics of 100,000 users and 10,000 items, beside numpy's argpartition alone.

Scores are drawn block by block, so that they are never in memory all at once, and both get
the same blocks, in turns. Masking of what users had taken before is part of the metrics;
drawing the scores is part of neither.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.core import Benchmark, Goal, Numbers, Row
from benchmarks.logs import peak_mb
from offline.ranking import beyond
from offline.ranking.evaluating import BLOCK_CELLS, Judge

USERS, ITEMS, GROUPS, K = 100_000, 10_000, 20, 10
SEEN, RELEVANT = 100, 5
"""Of a user."""


def pairs(users: int, each: int, random: np.random.Generator) -> csr_matrix:
    """So many items of each user, a few of them drawn twice, (users, ITEMS)."""
    items = random.integers(0, ITEMS, users * each, dtype=np.int32)
    begins = np.arange(0, users * each + 1, each)
    found = csr_matrix((np.ones(len(items), np.float32), items, begins), shape=(users, ITEMS))
    found.sum_duplicates()
    found.data[:] = 1.0
    return found


def measure(quick: bool) -> Numbers:
    """CPU-seconds of both over all blocks, and the peak memory of this process."""
    users = USERS // (50 if quick else 1)
    random = np.random.default_rng(0)
    seen, relevant = pairs(users, SEEN, random), pairs(users, RELEVANT, random)
    groups = (random.random((ITEMS, GROUPS)) < 0.1).astype(np.float32)
    takers = np.bincount(seen.indices, minlength=ITEMS)
    began = time.process_time()
    own = seen @ beyond.shares(groups)
    information = beyond.self_information(takers, users)
    judge = Judge(relevant, K, information, groups, own)
    metrics, alone = time.process_time() - began, 0.0
    size = BLOCK_CELLS // ITEMS
    for first in range(0, users, size):
        scores = random.random((min(size, users - first), ITEMS), dtype=np.float32)
        began = time.process_time()
        np.argpartition(scores, ITEMS - K, axis=1)[:, -K:]
        middle = time.process_time()
        judge.add(first, scores, seen[first : first + size])
        alone, metrics = alone + middle - began, metrics + time.process_time() - middle
    began = time.process_time()
    result = judge.result()
    metrics += time.process_time() - began
    if None in result.values.values() or result.users != users:
        raise RuntimeError(f"metrics are missing: {result}")
    return {
        "users": users,
        "ratio": round(metrics / alone, 3),
        "metrics_seconds": round(metrics, 2),
        "argpartition_seconds": round(alone, 2),
        "peak_gb": round(peak_mb() / 1024, 3),
    }


def in_words(numbers: Numbers) -> str:
    """The ratio, and what it is made of."""
    return (
        f"{numbers['ratio']:.2f} times ({numbers['metrics_seconds']:.1f} against "
        f"{numbers['argpartition_seconds']:.1f} CPU-seconds), {numbers['peak_gb']:.2f} GB"
    )


def _within(text: str, most: float) -> Goal:
    return Goal(text, lambda numbers: numbers["ratio"] <= most and numbers["peak_gb"] <= 2)


BENCHMARKS = (
    Benchmark(
        "ranking",
        "all ranking metrics against argpartition",
        measure,
        (
            Row(
                "all ranking metrics of 100,000 users and 10,000 items, K = 10, against numpy's "
                "argpartition alone (peak memory 2 GB)",
                in_words,
                _within("2 times", 2.0),
                _within("as fast", 1.0),
            ),
        ),
    ),
)
