"""What is said of a cluster that cannot be joined, before Ray is imported."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata

import grpc
import pytest

from algorithms.joining import ClusterError, check_address

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
ID = bytes(range(28))


@contextmanager
def cluster(cluster_id: Answer, versions: Answer) -> Iterator[str]:
    """Something that answers as a Ray cluster does; gives its address."""
    methods = {
        "/ray.rpc.NodeInfoGcsService/GetClusterId": cluster_id,
        "/ray.rpc.InternalKVGcsService/InternalKVGet": versions,
    }

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            answer = methods.get(call.method)
            return None if answer is None else grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), [Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def its_id(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"\x0a\x00\x12\x1c" + ID


def its_versions(ray: str, python: str) -> Answer:
    text = json.dumps({"ray_version": ray, "python_version": python}).encode()
    return lambda request, context: b"\x0a\x00\x12" + bytes([len(text)]) + text


OURS = its_versions(metadata.version("ray"), platform.python_version())


def test_a_node_of_the_cluster_on_this_machine_lets_us_join() -> None:
    program = "print('up', flush=True); input()"
    arguments = [sys.executable, "-c", program, f"--cluster-id={ID.hex()}"]
    with (
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node,
        cluster(its_id, OURS) as address,
    ):
        assert node.stdout is not None
        assert node.stdout.readline() == b"up\n"
        assert not check_address(address)  # asks for no token
        node.communicate(b"\n")
    with cluster(its_id, OURS) as address, pytest.raises(ClusterError, match="is no node of"):
        check_address(address)


@pytest.mark.parametrize("other", [("1.13.0", platform.python_version()), (None, "3.10.1")])
def test_other_versions_are_named(other: tuple[str | None, str]) -> None:
    ray = other[0] or metadata.version("ray")
    with cluster(its_id, its_versions(ray, other[1])) as address:
        with pytest.raises(ClusterError, match=f"runs Ray {ray} on Python {other[1]}, and this"):
            check_address(address)


@pytest.mark.parametrize(("token", "fault"), [(None, "it asks for"), ("mine", "is not its own")])
def test_the_token_is_shown(
    token: str | None, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    seen = []

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        return b""

    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if token is not None:
        (tmp_path / "token").write_text(f"{token}\n")
    with cluster(refuse, OURS) as address, pytest.raises(ClusterError, match=fault):
        check_address(address)
    # Asked without a token first, because a cluster may have none.
    assert seen == [None, None if token is None else f"Bearer {token}"]


def test_another_service_is_no_cluster() -> None:
    def unknown(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        return b""

    with cluster(unknown, OURS) as address:
        with pytest.raises(ClusterError, match="something else listens there"):
            check_address(address)


def test_asking_imports_neither_ray_nor_torch() -> None:
    program = (
        "import sys\n"
        "from algorithms.train import app\n"
        "try:\n"
        "    app(['slateq', '--address', '127.0.0.1:1'], standalone_mode=False)\n"
        "finally:\n"
        "    print([name for name in ('ray', 'torch', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
    assert done.stdout == "[]\n"
