"""Starts Ray as small and quiet as a run needs it, or joins a running cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 300 * 2**20
"""Weights and fragments in flight are a few MB each."""

JOIN_SECONDS = 9.0
_PROBE_SECONDS = 4.0
# An empty SETTINGS frame: length 0, type 4, no flags, stream 0.
_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_PACKAGES = ("envs", "algorithms", "configs", "recsim")


class ClusterError(ValueError):
    """A cluster that cannot be joined; the message is one sentence."""


def quiet() -> None:
    """Silence Ray's and RLlib's notices; errors stay.

    To call before they are imported, for what they read then, and after, because
    they set the levels of their loggers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name in ("ray", "ray.rllib", "ray.tune", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)


def check_address(address: str) -> None:
    """Refuse an address that is none or does not answer.

    Raises:
        ClusterError: one sentence.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(
            f"the cluster address is '{address}'; write it as host:port, as in 10.0.0.1:6379"
        )
    try:
        _probe(host.strip("[]"), int(port))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ClusterError(
            f"no Ray cluster answers at {address} ({reason}); "
            "start one with `ray start --head`, or check host and port"
        ) from None


def _probe(host: str, port: int) -> None:
    """See whether somebody there speaks HTTP/2, as Ray's gRPC does: both sides begin with settings.

    Ray itself would wait for long, inside C++ code that nothing interrupts.
    """
    deadline = time.monotonic() + _PROBE_SECONDS
    with socket.create_connection((host, port), _PROBE_SECONDS) as connection:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
        answer = connection.recv(9)
    if len(answer) < 4 or answer[3] != _SETTINGS[3]:
        raise OSError("something else listens there")


@contextmanager
def ray_running(
    workers: int, address: str | None = None, abandon: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Ray for so many workers while the block runs; none at all for no workers.

    Args:
        workers: how many a cluster of our own has room for.
        address: of a running cluster to join instead.
        abandon: called before the process ends because the cluster does not answer.

    Raises:
        ClusterError: there is no cluster at the address.
    """
    if not workers and address is None:
        with _without_object_store():
            yield
        return
    if address is not None:
        _use_token()
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
        check_address(address)
        _join(address, options, abandon)
    try:
        yield
    finally:
        ray.shutdown()


def _use_token() -> None:
    """Show the token if there is one; Ray reads this when it is imported, and doesn't by itself."""
    known = [os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH")]
    if any(known) or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _join(address: str, options: dict[str, Any], abandon: Callable[[], None]) -> None:
    import ray

    message = (
        f"the cluster at {address} does not let us in; is it Ray {ray.__version__}, and is its "
        "token in RAY_AUTH_TOKEN or ~/.ray/auth_token?"
    )

    def give_up() -> None:
        # Ray waits inside its C++ code, where no exception reaches it.
        abandon()
        print(message, file=sys.stderr, flush=True)
        os._exit(2)

    watchdog = threading.Timer(JOIN_SECONDS, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        ray.init(address=address, runtime_env=shipped(), **options)
    except Exception as error:
        abandon()
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(f"{message} ({reason})") from None
    finally:
        watchdog.cancel()


def shipped() -> dict[str, Any]:
    """The runtime environment that brings our packages, and recsim, to the workers."""
    folders = []
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folders.append(str(Path(next(iter(spec.submodule_search_locations))).resolve()))
    return {"py_modules": folders, "excludes": ["__pycache__"]}


@contextmanager
def _without_object_store() -> Iterator[None]:
    """RLlib puts the config for remote runners into the object store even if there are none.

    That alone would start Ray: 6 CPU-seconds, six processes, 300 MB.
    """
    import ray

    before = ray.put
    ray.put = lambda value, *args, **kwargs: value
    try:
        yield
    finally:
        ray.put = before
