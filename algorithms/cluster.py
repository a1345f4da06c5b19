"""Starts Ray as small and quiet as a run needs it, or joins a running cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from algorithms.joining import ClusterError, check_address

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 300 * 2**20
"""Weights and fragments in flight are a few MB each."""

JOIN_SECONDS = 20.0
"""For a cluster that has just answered and would let us in."""

ROOM_SECONDS = 300.0
"""For a cluster that has no CPU free for every worker; it may grow, or another run may end."""

_OURS = ("envs", "algorithms", "offline", "configs")
# What recsim imports and `ray[rllib]` does not bring, all of it plain Python.
_RECSIM = ("recsim", "gin", "six")


def quiet() -> None:
    """Silence Ray's and RLlib's notices; errors stay.

    To call before they are imported, for what they read then, and after, because
    they set the levels of their loggers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name in ("ray", "ray.rllib", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # They write whole tracebacks of workers that died, of which we warn in a sentence.
    for name in ("ray.rllib.utils.actor_manager", "ray.rllib.env.env_runner_group"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


class WorkersLost(RuntimeError):
    """No worker can be started, or none has answered for long; the message is one sentence."""


@contextmanager
def ray_running(
    workers: int,
    address: str | None = None,
    world: str = "",
    abandon: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Ray for so many workers while the block runs; none at all for no workers.

    Args:
        workers: how many there will be.
        address: of a running cluster to join; one of our own if not given.
        world: its name, for what the cluster's nodes need; see `shipped`.
        abandon: called where the process has to end at once, because joining hangs.

    Raises:
        ClusterError: there is no cluster at the address, or it has no room for the workers.
    """
    if not workers and address is None:
        with objects_by_value():
            yield
        return
    if address is not None:
        # Ray reads this when it is imported. Without it no token is looked for, and with
        # it workers of a cluster without tokens refuse us.
        os.environ["RAY_AUTH_MODE"] = "token" if check_address(address) else "disabled"
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(
            # A cluster of our own, whatever else runs on this machine.
            address="local",
            num_cpus=workers + 1,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **options,
        )
    else:
        _join(address, world, abandon, options)
    try:
        if address is not None and workers:
            _await_room(workers, address)
        yield
    finally:
        ray.shutdown()


def _join(address: str, world: str, abandon: Callable[[], None], options: dict[str, Any]) -> None:
    import ray

    def give_up() -> None:
        # Ray waits inside its C++ code, where no exception reaches it.
        abandon()
        message = f"the cluster at {address} has not taken us in within {JOIN_SECONDS:.0f} s"
        print(f"{message}; look at its logs", file=sys.stderr, flush=True)
        os._exit(2)

    watchdog = threading.Timer(JOIN_SECONDS, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        ray.init(address=address, runtime_env=shipped(world), **options)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"cannot join the cluster at {address}: {reason}") from None
    finally:
        watchdog.cancel()


def _await_room(workers: int, address: str) -> None:
    """Wait until every worker has a CPU to run on, by reserving them for a moment."""
    from ray.util.placement_group import placement_group, remove_placement_group

    deadline = time.monotonic() + ROOM_SECONDS
    room = placement_group([{"CPU": 1.0}] * workers)
    shortage = f"the cluster at {address} has no CPU free for each of {workers} workers"
    try:
        if not room.wait(timeout_seconds=5.0):
            logger.warning("%s; waiting for up to %.0f s.", shortage, ROOM_SECONDS)
        while not room.wait(timeout_seconds=1.0):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{shortage}; lower --workers, or add nodes with "
                    f"`ray start --address={address}`"
                )
    finally:
        remove_placement_group(room)


def shipped(world: str = "") -> dict[str, Any]:
    """The runtime environment that brings our packages, recsim and own users to the workers.

    Args:
        world: its name; of `module:Class` the module's top-level package travels too.
    """
    modules = [*_OURS, *_RECSIM]
    if ":" in world:
        modules.append(world.partition(":")[0])
    sources = [source for name in modules if (source := _source(name)) is not None]
    return {
        "py_modules": [str(source) for source in dict.fromkeys(sources)],
        "excludes": ["__pycache__"],
    }


def _source(module: str) -> Path | None:
    """The file or folder that has to travel to make a module importable elsewhere."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    if spec.origin is not None:
        path = Path(spec.origin)
        path = path.parent if path.name == "__init__.py" else path
    else:  # a folder without __init__.py
        path = Path(next(iter(spec.submodule_search_locations or [""])))
    return [path, *path.parents][module.count(".")].resolve()


@contextmanager
def objects_by_value() -> Iterator[None]:
    """Within this block, `ray.put` returns what it is given.

    RLlib puts the config for remote runners into the object store. Without runners
    that alone would start Ray: 6 CPU-seconds, six processes, 300 MB. With them, no
    lost runner could be replaced once the object is lost, of which Ray warns.
    """
    import ray

    before = ray.put
    ray.put = lambda value, *args, **kwargs: value
    try:
        yield
    finally:
        ray.put = before
