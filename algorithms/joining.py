"""Whether a Ray cluster would let us in, found out before Ray and torch are imported.

Ray itself waits for a minute or more inside C++ code that nothing interrupts.
Two calls of the protocol that its own clients use tell the same in milliseconds.
"""

from __future__ import annotations

import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PROBE_SECONDS = 4.0
_CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"
_KEY_VALUE = "/ray.rpc.InternalKVGcsService/InternalKVGet"
# An InternalKVGetRequest: the namespace (field 1) and the key (field 2).
_VERSIONS = b"\x0a\x07cluster\x12\x10CLUSTER_METADATA"
_ID_BYTES = 28


class ClusterError(ValueError):
    """A cluster that cannot be joined; the message is one sentence."""


class _Unauthenticated(Exception):
    """The cluster does not accept the token, or the lack of one."""


def token() -> str | None:
    """The token to show, from where Ray looks for it."""
    if found := os.environ.get("RAY_AUTH_TOKEN"):
        return found.strip()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        return (Path(path) if path else Path.home() / ".ray" / "auth_token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def check_address(address: str) -> bool:
    """Refuse an address that is none, does not answer, or whose cluster we cannot join.

    Returns:
        Whether the cluster asks for a token.

    Raises:
        ClusterError: one sentence.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ClusterError(
            f"the cluster address is '{address}'; write it as host:port, as in 10.0.0.1:6379"
        )
    shown = None
    try:
        answer = _ask(address, _CLUSTER_ID, b"", shown)
    except _Unauthenticated:
        shown = token()
        try:
            answer = _ask(address, _CLUSTER_ID, b"", shown)
        except _Unauthenticated:
            fault = "it asks for a token" if shown is None else "our token is not its own"
            raise ClusterError(
                f"the cluster at {address} does not let us in: {fault}; put the cluster's token "
                "in RAY_AUTH_TOKEN or ~/.ray/auth_token"
            ) from None
    # Both are fields of bytes in protobuf: the id ends its message, the versions are JSON.
    cluster_id = answer[-_ID_BYTES:].hex()
    found = re.search(rb"\{.*\}", _ask(address, _KEY_VALUE, _VERSIONS, shown), re.DOTALL)
    if found is not None:
        _check_versions(address, json.loads(found.group()))
    if not _is_here(cluster_id):
        raise ClusterError(
            f"this machine is no node of the cluster at {address}; run "
            f"`ray start --address={address}` here first, or this command on one of its nodes"
        )
    return shown is not None


def _ask(address: str, method: str, request: bytes, shown: str | None) -> bytes:
    import grpc  # type: ignore[import-untyped]

    headers = [("authorization", f"Bearer {shown}")] if shown else []
    options = [("grpc.enable_http_proxy", 0)]
    try:
        with grpc.insecure_channel(address, options) as channel:
            answer: bytes = channel.unary_unary(method)(
                request, timeout=PROBE_SECONDS, metadata=headers
            )
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            raise _Unauthenticated from None
        raise ClusterError(_silence(address, error)) from None
    return answer


def _silence(address: str, error: Any) -> str:
    code = error.code().name
    if code == "DEADLINE_EXCEEDED":
        reason = f"silent for {PROBE_SECONDS:.0f} s"
    elif code == "UNAVAILABLE":
        reason = " ".join(str(error.details()).rpartition(": ")[2].split()).rstrip("]") or code
    else:
        reason = "something else listens there"
    return (
        f"no Ray cluster answers at {address} ({reason}); "
        "start one with `ray start --head`, or check host and port"
    )


def _check_versions(address: str, theirs: dict[str, Any]) -> None:
    ray, python = metadata.version("ray"), platform.python_version()
    minor = python.rpartition(".")[0]
    found = str(theirs.get("python_version", python))
    if theirs.get("ray_version", ray) != ray or found.rpartition(".")[0] != minor:
        raise ClusterError(
            f"the cluster at {address} runs Ray {theirs.get('ray_version')} on Python {found}, "
            f"and this is Ray {ray} on Python {python}; use the same versions in both places"
        )


def _is_here(cluster_id: str) -> bool:
    """Whether a node of the cluster runs on this machine, through which Ray joins it."""
    argument = f"--cluster-id={cluster_id}"
    for process in psutil.process_iter():
        try:
            if argument in process.cmdline():
                return True
        except psutil.Error:
            continue
    return False
