from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

# Test processes share the cores, and small operations suffer from several threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A small local Ray cluster for the tests of one process."""
    import ray

    ray.init(
        address="local",  # never join a cluster that happens to run here
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        configure_logging=False,
    )
    yield
    ray.shutdown()
