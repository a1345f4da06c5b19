from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

# Test processes share the cores, and small operations suffer from several threads.
torch.set_num_threads(1)


def ray_runs() -> bool:
    """Whether this process is connected to a cluster; imports nothing."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


@pytest.fixture(autouse=True)
def no_cluster_by_accident(request: pytest.FixtureRequest) -> Iterator[None]:
    """RLlib starts Ray, or joins whatever runs on the machine, where nobody did."""
    before = ray_runs()
    yield
    if ray_runs() and not before and "cluster" not in request.fixturenames:
        sys.modules["ray"].shutdown()
        pytest.fail("this test started Ray by accident; let it use the fixture 'cluster'")


@pytest.fixture
def cluster() -> None:
    """A small local Ray cluster, which later tests of the process share."""
    import ray

    if not ray.is_initialized():
        ray.init(
            address="local",  # never join a cluster that happens to run here
            num_cpus=3,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
            configure_logging=False,
        )


@pytest.fixture
def no_cluster() -> None:
    """For tests of what starts Ray by itself."""
    import ray

    ray.shutdown()
