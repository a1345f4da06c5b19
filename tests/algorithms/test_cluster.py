"""Training on a Ray cluster of several nodes, one of which dies."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
"""


@pytest.mark.slow
def test_a_node_that_dies_costs_its_fragments_and_not_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps after the node died" in done.stdout
