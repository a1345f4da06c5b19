"""Impressions lost or torn over 200,000 requests, with rotation and a clean stop.

A part goes one by one in sessions, the rest 50 at a time through the batch route.
Every id that was answered is looked for in the raw log, where it must stand once, and
the joined log must have as many rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, failed
from benchmarks.serve.servers import (
    batches,
    bodies,
    logged,
    ours,
    scratch,
    session,
    shards,
    torn,
)

SINGLE, BATCHED, BATCH = 50_000, 150_000, 50
ROTATE_MB = 8


def measure(quick: bool) -> Numbers:
    """Counts of what was answered, logged and joined."""
    part = 100 if quick else 1
    with scratch() as folder:
        began = time.monotonic()
        with ours(
            folder, "--replicas", "2", "--set", f"log.rotate_mb={ROTATE_MB / part}"
        ) as server:
            with Load(server.url, bodies(), 8, most=SINGLE // part, session=session()) as single:
                single.join()
            with Load(
                server.url,
                batches(BATCH),
                4,
                route="/v1/recommend/batch",
                most=BATCHED // part // BATCH,
            ) as batched:
                batched.join()
            status = server.stop()
        replies = [*single.replies, *batched.replies]
        answered = Counter(one for reply in replies for one in reply.ids)
        written = Counter(logged(folder / "state"))
        joined = _join(folder)
        return {
            "answers": sum(answered.values()),
            "one_by_one": answered.total() - sum(len(one.ids) for one in batched.replies),
            "failed": failed(replies),
            "kinds": dict(Counter(single.tally()) + Counter(batched.tally())),
            "status": status,
            "shards": len(shards(folder / "state")),
            "torn": torn(folder / "state"),
            "lost": (answered - written).total(),
            "more": (written - answered).total(),
            "joined": joined,
            "seconds": round(time.monotonic() - began),
        }


def _join(folder: Path) -> dict[str, Any]:
    words = ["-m", "offline.join", str(folder / "state"), "--out", str(folder / "log"), "--json"]
    found = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(f"the log cannot be joined: {found.stderr[-500:]}")
    said: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return {key: value for key, value in said.items() if key != "log"}  # where it lay


def _in_words(numbers: Numbers) -> str:
    return (
        f"{numbers['lost']} lost, {numbers['torn']} torn of {numbers['answers']:,} "
        f"({numbers['one_by_one']:,} one by one, the others in batches) in "
        f"{numbers['shards']} shards"
    )


def _met(numbers: Numbers) -> bool:
    bad = ("lost", "more", "torn", "failed", "status")
    enough = numbers["answers"] >= SINGLE + BATCHED
    joined = numbers["joined"]["impressions"]["written"] == numbers["answers"]
    return bool(enough and joined and not any(numbers[name] for name in bad))


BENCHMARKS = (
    Benchmark(
        "serve_log",
        "impressions lost or torn over 200,000 requests",
        measure,
        (
            Row(
                "impressions lost or torn over 200,000 requests with rotation and a clean stop",
                _in_words,
                Goal("0", _met),
                Goal("0", _met),
            ),
        ),
    ),
)
