"""What travels to a cluster's nodes, and what happens when workers and nodes die."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from algorithms.cluster import WorkersLost, shipped
from algorithms.slateq import SlateQConfig

RUNNER = "ray::ColumnarEnvRunner"


def until(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float) -> Any:
    """What a condition comes to while a process runs, asked until it is something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited for too long"
        try:
            _, errors = process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"ended with {process.returncode}: {errors[-3000:]}")
    return found


def test_our_packages_and_what_recsim_imports_travel() -> None:
    names = {Path(source).name for source in shipped()["py_modules"]}
    assert names == {"envs", "algorithms", "offline", "configs", "recsim", "gin", "six.py"}


def test_the_module_of_own_users_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("mine.py", "package/__init__.py", "package/inner/mine.py", "folder/mine.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def last(world: str) -> str:
        return str(Path(shipped(world)["py_modules"][-1]).relative_to(tmp_path.resolve()))

    assert last("mine:Readers") == "mine.py"
    assert last("package:Readers") == "package"
    assert last("package.inner.mine:Readers") == "package"
    assert last("folder.mine:Readers") == "folder"


def config(workers: int = 2) -> SlateQConfig:
    base = SlateQConfig().environment("interest_evolution", env_config={"num_candidates": 6})
    base.env_runners(num_env_runners=workers, num_envs_per_env_runner=8, rollout_fragment_length=4)
    base.training(hidden=(8,), minibatch_size=16, stagger_steps=4)
    return base.fault_tolerance(max_num_env_runner_restarts=0)


@pytest.mark.usefixtures("cluster")
def test_an_iteration_that_workers_leave_reports_what_was_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def recorder(index: int) -> Callable[[Any], None]:
        played = []

        def record(fragment: Any) -> None:
            played.append(fragment.num_steps)
            if len(played) == 3:
                os._exit(1)

        return record

    monkeypatch.setattr("algorithms.rllib.algorithm.PATIENCE_SECONDS", 1.0)
    algo = config().recording(recorder).build_algo()
    result = algo.train()
    # 2 fragments of 4 steps of 8 users from either of 2 workers; the third came never.
    assert algo.env_steps == 128
    assert result["env_runners"]["num_env_steps_sampled"] == 128
    assert np.isfinite(result["learners"]["default_policy"]["td_loss"])
    empty = algo.train()
    assert algo.env_steps == 128
    assert empty["env_runners"]["num_env_steps_sampled"] == 0
    assert empty["env_runners"].keys() == result["env_runners"].keys()
    assert np.isnan(empty["env_runners"]["episode_return_mean"])
    with pytest.raises(WorkersLost, match="no worker has answered for 1 s"):
        for _ in range(20):
            algo.train()
    algo.stop()


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_cannot_start_says_why() -> None:
    def recorder(index: int) -> Callable[[Any], None]:
        if index:
            raise OSError("there is no room for the log")
        return print

    message = "no worker can be started: OSError: there is no room for the log"
    with pytest.raises(WorkersLost, match=message):
        config().recording(recorder).build_algo()


def command(out: Path, *more: str) -> list[str]:
    values = {
        "train.env_steps": 300_000,
        "train.users": 128,
        "train.fragment": 16,
        "train.checkpoint_every": 16_384,
        "train.evaluate_every": "null",
        "evaluate.users": 10,
        "evaluate.backend": "torch",
        "slateq.stagger_steps": 4,
    }
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    program = [sys.executable, "-m", "algorithms.train", "slateq", "--workers", "2"]
    return [*program, "--out", str(out), *sets, *more]


@contextmanager
def start(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def checkpoint(out: Path) -> Callable[[], bool]:
    return lambda: any((out / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_a_killed_worker_costs_the_command_a_warning(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def runners() -> list[psutil.Process]:
        family = psutil.Process(training.pid).children(recursive=True)
        return [child for child in family if child.cmdline()[:1] and RUNNER in child.cmdline()[0]]

    with start(command(out)) as training:
        until(checkpoint(out), training, 200)
        os.kill(runners()[0].pid, signal.SIGKILL)
        _, errors = training.communicate(timeout=300)
    assert training.returncode == 0, errors[-3000:]
    assert "WARNING: 1 of 2 workers answer" in errors
    assert "Traceback" not in errors
    assert json.loads((out / "result.json").read_text())["env_steps"] >= 300_000


class RayCluster:
    """A head without CPUs and two nodes with one each, as `ray start` starts them."""

    def __init__(self) -> None:
        self.address, self.processes = "", list[subprocess.Popen[str]]()

    def start(self, temporary: str) -> None:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            port, client_port = first.getsockname()[1], second.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.add(
            "--head",
            f"--port={port}",
            f"--ray-client-server-port={client_port}",
            f"--temp-dir={temporary}",
            "--include-dashboard=false",
            "--num-cpus=0",
        )
        for _ in range(2):
            self.add(f"--address={self.address}", "--num-cpus=1")

    def add(self, *options: str) -> None:
        ray = Path(sys.executable).with_name("ray")
        shared = ("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000")
        node = subprocess.Popen(
            [ray, "start", "--block", "--disable-usage-stats", *shared, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(node)
        assert node.stdout is not None
        # Nodes that start at the same moment on one machine get in each other's way.
        said = next((line for line in node.stdout if "Ray runtime started" in line), None)
        assert said is not None, f"ray start ended with {node.wait()}"

    def kill(self, node: subprocess.Popen[str]) -> None:
        """As a machine that loses its power."""
        family = psutil.Process(node.pid).children(recursive=True)
        for process in [psutil.Process(node.pid), *family]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()

    def stop(self) -> None:
        for node in reversed(self.processes):
            if node.poll() is None:
                self.kill(node)


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Short, because the paths of sockets may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as temporary:
        cluster = RayCluster()
        try:
            cluster.start(temporary)
            yield cluster
        finally:
            cluster.stop()


@pytest.mark.slow
def test_a_node_that_dies_costs_the_command_a_warning(
    two_nodes: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    joining = command(out, "--address", two_nodes.address)
    with start(joining) as training:
        until(checkpoint(out), training, 200)
        two_nodes.kill(two_nodes.processes[-1])
        _, errors = training.communicate(timeout=400)
    assert training.returncode == 0, errors[-3000:]
    assert "WARNING: 1 of 2 workers answer" in errors
    assert json.loads((out / "result.json").read_text())["env_steps"] >= 300_000
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    refused = subprocess.run(
        command(tmp_path / "refused", "--address", two_nodes.address),
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert refused.returncode == 2
    assert "does not let us in: our token is not its own" in refused.stderr


PROGRAM = """
import time

import ray
from ray.cluster_utils import Cluster

from algorithms.slateq import SlateQConfig

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)
algo = (
    SlateQConfig()
    .environment("interest_evolution")
    # One runner a node: neither fits beside the other while both nodes live.
    .env_runners(
        num_env_runners=2, num_cpus_per_env_runner=1.5, num_envs_per_env_runner=8,
        rollout_fragment_length=4,
    )
    .training(hidden=(8,), stagger_steps=4)
    .build_algo()
)

def places():
    return algo.env_runner_group.foreach_env_runner(
        lambda runner: ray.get_runtime_context().get_node_id(), local_env_runner=False
    )

algo.train()
assert len(set(places())) == 2, "the runners share a node"
before = algo.env_steps
dead = next(node for node in nodes if node.node_id == places()[0])
cluster.remove_node(dead, allow_graceful=False)
for _ in range(5):
    algo.train()
print("steps after the node died:", algo.env_steps - before)
# Four fragments of 4 steps of 8 users an iteration from the runner that is left.
assert algo.env_steps - before >= 4 * 4 * 4 * 8
cluster.add_node(num_cpus=2)
deadline = time.monotonic() + 200
while time.monotonic() < deadline and len(set(places())) < 2:
    algo.train()
assert len(set(places())) == 2, "the lost runner did not come back on the new node"
algo.stop()
# A driver whose node goes first ends with status 1.
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
def test_a_node_that_dies_costs_its_fragments_and_not_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps after the node died" in done.stdout
