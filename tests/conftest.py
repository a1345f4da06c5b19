from __future__ import annotations

import pytest
import torch

# Test processes share the cores, and small operations suffer from several threads.
torch.set_num_threads(1)


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
