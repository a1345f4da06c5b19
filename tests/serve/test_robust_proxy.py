"""What stands around HAProxy: its amended config, its ports, and who answers while it stops."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from serve import haproxy
from serve.cluster import Proxy, free_port, has_haproxy
from serve.haproxy import Amendments, amended, page
from serve.parking import Parking
from serve.settings import Settings

WANTED = Amendments(
    loopback=(20300, 20303),
    in_flight=64,
    queued=128,
    retry_after=2,
    stopping="/nowhere/stopping",
    folder="/pages",
)
RAYS = """\
defaults
    mode http
    errorfile 502 /ray/500.http
    errorfile 503 /ray/500.http
frontend prometheus
    bind :20303
frontend http_frontend
    bind 127.0.0.1:8000
    acl healthcheck path -i /-/healthz
    http-request return status 200 content-type text/plain string "success" if healthcheck
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path not found."
backend http-recsim
    http-reuse always
    server A 127.0.0.1:20000 check observe layer4
    server B 127.0.0.1:20301 check backup
listen stats
  bind *:20300
"""


def test_rays_config_is_amended_where_it_must_be() -> None:
    busy = '{"error":"as many requests are waiting as are allowed; try again soon","field":""}'
    starting = '{"error":"the proxy is starting; try again soon","field":""}'
    late = '{"error":"the body did not arrive within 10 seconds; send it faster","field":""}'
    refuse = "http-request return status 503 content-type application/json hdr Retry-After 2 string"
    assert (
        amended(RAYS, WANTED)
        == f"""\
defaults
    mode http
    errorfile 502 /pages/502.http
    errorfile 503 /pages/503.http
frontend prometheus
    bind 127.0.0.1:20303
frontend http_frontend
    bind 127.0.0.1:8000
    acl healthcheck path -i /-/healthz
    http-request return status 200 content-type text/plain string "success" if healthcheck
backend default_backend
    {refuse} '{starting}'
backend http-recsim
    http-reuse always
    timeout queue 10s
    http-error status 408 content-type application/json string '{late}'
    http-request wait-for-body time 10000ms
    {refuse} '{busy}' if {{ queue ge 128 }} {{ be_conn_free le 0 }} !{{ path /healthz /readyz }}
    server A 127.0.0.1:20000 check observe layer4 maxconn 64
    server B 127.0.0.1:20301 check backup maxconn 64
listen stats
  bind 127.0.0.1:20300
"""
    )


def test_without_a_limit_nobody_is_refused_for_waiting() -> None:
    found = amended(RAYS, replace(WANTED, queued=-1))
    assert "queue ge" not in found
    assert "maxconn 64" in found


def test_a_page_is_a_whole_answer() -> None:
    head, _, body = page(503, 7).partition("\r\n\r\n")
    assert head.splitlines()[0] == "HTTP/1.1 503 Service Unavailable"
    assert "Retry-After: 7" in head.splitlines()
    assert f"Content-Length: {len(body)}" in head.splitlines()
    assert set(json.loads(body)) == {"error", "field"}
    assert "Retry-After" not in page(502, 7)


def test_the_command_amends_and_becomes_haproxy(tmp_path: Path) -> None:
    wanted = replace(WANTED, stopping=str(tmp_path / "stopping"), folder=str(tmp_path))
    wanted.write(tmp_path / "amendments.json")
    (tmp_path / "haproxy.cfg").write_text(RAYS)
    words = [sys.executable, "-I", haproxy.__file__, str(tmp_path / "amendments.json")]
    words += ["/bin/echo", "-db", "-f", str(tmp_path / "haproxy.cfg")]
    found = subprocess.run(words, capture_output=True, text=True)
    assert found.stdout.split() == ["-db", "-f", str(tmp_path / "haproxy.cfg")]
    assert (tmp_path / "haproxy.cfg").read_text() == amended(RAYS, wanted)
    words[words.index("/bin/echo")] = "/bin/sh"
    said = subprocess.run([*words[:5], "-c", "kill -INT $$; echo alive"], capture_output=True)
    assert said.stdout == b"alive\n"  # a terminal's Ctrl-C reaches it too
    (tmp_path / "stopping").touch()
    assert subprocess.run(words, capture_output=True).returncode == 1


@pytest.mark.skipif(not has_haproxy(), reason="there is no HAProxy here")
def test_haproxy_takes_the_config_and_endpoints_get_ports_of_their_own() -> None:
    first, second = Proxy(Settings()), Proxy(Settings())
    try:
        assert first.environment() != second.environment()
        ports = [
            int(one.environment()["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
            for one in (first, second)
        ]
        assert abs(ports[0] - ports[1]) >= 400
        config = first.folder / "haproxy.cfg"
        config.write_text(RAYS)
        words = [first.environment()["RAY_SERVE_HAPROXY_BINARY_PATH"], "-c", "-f", str(config)]
        found = subprocess.run(words, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
    finally:
        first.close()
        second.close()
    assert not first.folder.exists()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="Linux's sockets only")
def test_whoever_was_let_in_while_parked_gets_an_answer() -> None:
    port = free_port("127.0.0.1", 0)
    outcomes: list[str] = []
    leaving = threading.Event()

    def knock() -> None:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    answer = connection.recv(1000)
                    outcomes.append(answer[:12].decode() if answer else "nothing")
            except ConnectionRefusedError:
                if leaving.is_set():
                    return
            except OSError as error:
                outcomes.append(repr(error))

    threads = [threading.Thread(target=knock) for _ in range(4)]
    with Parking("127.0.0.1", port):
        for thread in threads:
            thread.start()
        while len(outcomes) < 200:
            os.sched_yield()
        leaving.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) == {"HTTP/1.1 503"}
