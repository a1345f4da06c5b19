"""Servers as processes of their own, with what they use, and the policy and bodies for them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import orjson
import psutil
import torch

from algorithms.core.agent import Exploration
from algorithms.policy import Policy
from algorithms.slateq import SlateQAgent, SlateQSettings
from benchmarks.core import ROOT
from benchmarks.serve.load import Session, await_true
from envs.registry import make_simulator
from serve.schemas import example_responses

SLATE = 3
START_SECONDS = 180.0


def policy(seed: int = 0) -> Policy:
    """SlateQ as it is by default, untrained: what it costs does not depend on its weights."""
    simulator = make_simulator(num_users=1, name="interest_evolution")
    torch.manual_seed(seed)
    settings = SlateQSettings().model_dump()
    agent = SlateQAgent(simulator.spec, simulator.history, SLATE, settings)
    return Policy(agent, exploration=Exploration(epsilon=0.1), reward=simulator.reward_name)


def bodies(candidates: int = 10, count: int = 200) -> list[bytes]:
    """Requests of users who differ, with candidates that differ, 20 features each."""
    generator = np.random.default_rng(0)
    users = generator.uniform(-1, 1, (count, 20)).round(4).tolist()
    items = generator.uniform(-1, 1, (count, candidates, 20)).round(4).tolist()
    return [
        orjson.dumps(
            {
                "user_id": f"user-{number}",
                "user": {"interests": user},
                "candidates": [
                    {"id": f"item-{number}-{position}", "features": {"features": features}}
                    for position, features in enumerate(offered)
                ],
                "slate_size": SLATE,
            }
        )
        for number, (user, offered) in enumerate(zip(users, items, strict=True))
    ]


def batches(size: int, count: int = 20) -> list[bytes]:
    """The same, so many in a request."""
    single = bodies(count=size * count)
    groups = [single[first : first + size] for first in range(0, len(single), size)]
    return [b'{"requests":[%b]}' % b",".join(group) for group in groups]


def session() -> Session:
    """Sessions of 20 steps, in which the first item is always clicked."""
    spec = make_simulator(num_users=1, name="interest_evolution").spec
    return Session(orjson.dumps(example_responses(spec, SLATE)))


def free() -> int:
    """A port that nobody listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


class Server:
    """A command that answers HTTP, and all processes that it starts.

    Attributes:
        url: where it answers.
        process: the command.
    """

    def __init__(
        self,
        words: Sequence[str],
        port: int,
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            words: of the command, after Python's own.
            port: that it is told to listen on.
            log: file for what it says.
            environment: to add.
        """
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                # Its own group, which a terminal's Ctrl-C would go to.
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )

    def __enter__(self) -> Server:
        """Wait until it answers.

        Raises:
            RuntimeError: it does not.
        """
        try:
            await_true(self._ready, START_SECONDS, 0.2)
        except (TimeoutError, RuntimeError) as error:
            self.stop()
            said = self._log.read_text(errors="replace")[-1500:]
            raise RuntimeError(f"the server does not answer ({error}); it said: {said}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"status {self.process.returncode}")
        with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
            return bool(json.load(answer) == {"status": "ready"})

    def stop(self, seconds: float = 60.0) -> int:
        """End it as a service manager would; its status."""
        processes = self.tree()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            for process in psutil.wait_procs(processes, timeout=5.0)[1]:
                with suppress(psutil.Error):
                    process.kill()

    def tree(self) -> list[psutil.Process]:
        """The command and its descendants."""
        try:
            main = psutil.Process(self.process.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def named(self, part: str) -> list[psutil.Process]:
        """Those of its processes whose name or command holds a word."""
        found = []
        for process in self.tree():
            with suppress(psutil.Error):
                if part in process.name() or part in " ".join(process.cmdline()[:1]):
                    found.append(process)
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all of them so far, with children that have ended."""
        total = 0.0
        for process in self.tree():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def memory_mb(self) -> float:
        """Proportional set size: a page shared by n processes counts 1/n for each."""
        total = 0
        for process in self.tree():
            with suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
        return total / 2**20


def ours(folder: Path, *options: str, saved: Policy | None = None) -> Server:
    """Our command, with a policy; state and what it says in a folder."""
    target = folder / "policy"
    if not target.exists():
        (saved or policy()).save(target)
    port = free()
    words = ["-m", "serve.run", str(target), "--port", str(port), "--state", str(folder / "state")]
    return Server([*words, *options], port, folder / "said")


def shards(state: Path, kind: str = "impressions") -> list[Path]:
    """Of the raw log."""
    return sorted((state / "log").glob(f"{kind}-*.jsonl"))


def replicas_of(state: Path) -> set[str]:
    """Names of those replicas that have logged an answer."""
    return {path.stem.split("-")[2] for path in shards(state) if path.stat().st_size}


def logged(state: Path) -> Iterator[bytes]:
    """Ids of the impressions of all whole lines, a shard after the other.

    Raises:
        ValueError: a line is no JSON.
    """
    for path in shards(state):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield orjson.loads(line)["impression_id"].encode()


def torn(state: Path) -> int:
    """Shards whose last line has no end."""
    return sum(not path.read_bytes().endswith(b"\n") for path in shards(state))


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="recsim-bench-", ignore_cleanup_errors=True) as made:
        yield Path(made)
