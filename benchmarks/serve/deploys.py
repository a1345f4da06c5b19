"""Requests that fail while another policy is made live under load, ten times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.core import ROOT, Benchmark, Goal, Numbers, Row
from benchmarks.serve.load import Load, failed
from benchmarks.serve.servers import bodies, ours, policy, scratch, session
from serve.live import read_pointer

CONNECTIONS = 8


def measure(quick: bool) -> Numbers:
    """Requests, those that failed, and the deployments that were taken."""
    deployments = 2 if quick else 10
    with scratch() as folder:
        for number in (0, 1):
            policy(number).save(folder / f"policy-{number}")
        with (
            ours(folder, "--replicas", "2", saved=policy(0)) as server,
            Load(server.url, bodies(), CONNECTIONS, session=session()) as load,
        ):
            load.until(100)
            for number in range(deployments):
                _deploy(folder / f"policy-{(number + 1) % 2}", folder / "state")
                load.until(100)
        pointer = read_pointer(folder / "state")
    return {
        "deployments": 0 if pointer is None else pointer.generation - 1,
        "requests": len(load.replies),
        "failed": failed(load.replies),
        "kinds": load.tally(),
    }


def _deploy(made: Path, state: Path) -> None:
    words = [sys.executable, "-m", "serve.deploy", str(made), "--state", str(state)]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(f"the deployment failed: {found.stderr}")


def _in_words(numbers: Numbers) -> str:
    return f"{numbers['failed']} of {numbers['requests']:,}"


_NONE = Goal("0", lambda numbers: numbers["failed"] == 0 and numbers["deployments"] >= 10)

BENCHMARKS = (
    Benchmark(
        "serve_deploy",
        "requests that fail while policies are deployed under load",
        measure,
        (
            Row(
                "requests that fail while 10 policies are deployed under load (2 replicas)",
                _in_words,
                _NONE,
                _NONE,
            ),
        ),
    ),
)
