"""The command's figures, ports and limits as they are: real Ray, real HAProxy, real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from offline.log.schema import Header
from serve.schemas import example_responses
from serve.watching import Figures, addresses, scrape
from tests.serve.conftest import request_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEY = "the-key-of-the-tests"
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class Running(NamedTuple):
    """An endpoint under way."""

    url: str
    state: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("endpoint")
    settings = ["limits.max_in_flight=1", "replicas.max_queued=1"]
    settings += ["limits.body_seconds=3", "limits.retry_after=7"]
    words = [word for text in settings for word in ("--set", text)]
    process = subprocess.Popen(
        [sys.executable, "-m", "serve.run", "random", "--port=0", f"--state={folder}/s", *words],
        stdout=subprocess.PIPE,
        stderr=(folder / "err").open("w"),
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RECSIM_SERVE_API_KEY": KEY},
    )
    assert process.stdout is not None
    line = process.stdout.readline()  # printed when it is ready
    assert line.startswith("http://127.0.0.1:"), (folder / "err").read_text()
    yield Running(line.split()[0], folder / "s", process)
    process.terminate()
    process.wait(60)


def post(url: str, data: Any, key: str = KEY) -> tuple[int, Any, Any]:
    """Status, body and headers."""
    headers = {"content-type": "application/json", "x-api-key": key}
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=30
        ) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def until(state: Path, slates: float) -> Figures:
    """The figures, once Ray has exported them; it does so every 10 seconds."""
    pause = threading.Event()
    for _ in range(300):
        found = scrape(*addresses(state))
        if found["slates"] >= slates and found["unsynced_seconds"] is not None:
            return found
        pause.wait(0.2)
    raise AssertionError(f"only {found}")


def test_prometheus_has_every_figure_with_its_labels(running: Running, header: Header) -> None:
    recommend = f"{running.url}/v1/recommend"
    request, responses = request_of(header), example_responses(header.spec, 3)
    answers = [post(recommend, request)[1] for _ in range(20)]
    for answer in answers[:10]:
        post(recommend, {**request, "session": answer["session"], "responses": responses})
    nothing = [{**one, "click": 0} for one in responses]
    for answer in answers[:5]:
        told = {"impression_id": answer["impression_id"], "responses": nothing}
        assert post(f"{running.url}/v1/feedback", told)[0] == 200
    assert post(recommend, {**request, "slate_size": 99})[0] == 422
    found = until(running.state, 30)
    assert found["slates"] == 30
    assert found["statuses"] == {"200": 35, "422": 1}
    assert (found["refused"], found["errors"], found["fallbacks"]) == (1, 0, 0)
    assert found["responses"] == 15
    assert found["click_rate"] == pytest.approx(10 / 15)
    assert found["reward"] == pytest.approx(10 * responses[0]["watch_time"] / 15)
    assert found["arms"]["main"]["responses"] == 10  # feedback names no arm
    assert found["ess"]["uniform"] == pytest.approx(1000)
    assert found["weight"]["uniform"] == pytest.approx(1)
    assert found["explored"] is not None and 0.5 < found["explored"] < 1
    assert found["p50_ms"] is not None and 0 < found["p50_ms"] < 1000
    assert found["generations"] == [1] and found["in_flight"] == 0
    assert found["idle_seconds"] is not None and found["log_failing"] is False


def test_every_listening_port_is_on_loopback(running: Running) -> None:
    main = psutil.Process(running.process.pid)
    family = [main, *main.children(recursive=True)]
    found, datagrams = [], []
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # Ray's helpers come and go
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found.append((process.name(), one.laddr.ip, one.laddr.port))
                elif one.type == socket.SOCK_DGRAM and not one.raddr:
                    datagrams.append((process.name(), one.laddr.ip, one.laddr.port))
    # It sees those that it is about: HAProxy, Ray's own, and Prometheus' port.
    names = " ".join(name for name, _, _ in found)
    for name in ("haproxy", "gcs_server", "raylet", "DashboardAgent", "ServeReplica", "ProxyActor"):
        assert name[:15] in names, names
    ports = {port for _, _, port in found}
    (metrics,) = addresses(running.state)
    for url in (running.url, metrics.removesuffix("/metrics")):
        assert int(url.rpartition(":")[2]) in ports
    assert [one for one in found + datagrams if one[1] not in LOOPBACK] == []


def test_a_key_is_asked_for_behind_the_proxy(running: Running, header: Header) -> None:
    recommend = f"{running.url}/v1/recommend"
    status, body, _ = post(recommend, request_of(header), key="wrong")
    assert (status, body["error"]) == (401, "X-API-Key is missing or wrong; send the key")
    assert post(recommend, request_of(header))[0] == 200


class Slow:
    """A request whose body never ends."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        self._connection.putrequest("POST", "/v1/recommend")
        for name, value in (("content-type", "application/json"), ("x-api-key", KEY)):
            self._connection.putheader(name, value)
        self._connection.putheader("content-length", "1000")
        self._connection.endheaders(b"{")

    def answer(self) -> tuple[int, Any]:
        got = self._connection.getresponse()
        return got.status, json.load(got)


def test_slow_bodies_end_and_hold_nobody_up(running: Running, header: Header) -> None:
    slow = [Slow(running.url) for _ in range(10)]  # many more than a replica holds
    assert post(f"{running.url}/v1/recommend", request_of(header))[0] == 200
    for one in slow:
        status, body = one.answer()
        assert status == 408
        assert body["error"] == "the body did not arrive within 3 seconds; send it faster"
    status, body, _ = post(f"{running.url}/v1/recommend", b" " * 5_000_000)
    assert status == 413 and body["error"].startswith("the body is larger than 4194304 bytes")
    assert post(f"{running.url}/v1/recommend", request_of(header))[0] == 200


def test_load_is_shed_with_503_and_retry_after(running: Running, header: Header) -> None:
    batch = {"requests": [request_of(header)] * 50}
    found: list[tuple[int, Any, Any]] = []

    def ask() -> None:
        found.extend(post(f"{running.url}/v1/recommend/batch", batch) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy = [(body, headers) for status, body, headers in found if status == 503]
    assert busy and len(found) == 40
    assert {status for status, _, _ in found} == {200, 503}
    for body, headers in busy:
        assert headers["Retry-After"] == "7"
        assert set(body) == {"error", "field"} and "try again soon" in body["error"]
    assert post(f"{running.url}/v1/recommend", request_of(header))[0] == 200


def test_errors_are_in_the_access_log_with_their_ids(running: Running, header: Header) -> None:
    request = {**request_of(header), "request_id": "one-that-fails"}
    request["user"]["interests"][3] = "a-secret"
    assert post(f"{running.url}/v1/recommend", request)[0] == 422
    pause = threading.Event()
    for _ in range(200):
        text = "".join(path.read_text() for path in (running.state / "access").glob("*.jsonl"))
        if "one-that-fails" in text:
            break
        pause.wait(0.05)
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [line for line in lines if line.get("request_ids") == ["one-that-fails"]]
    assert (line["route"], line["status"]) == ("/v1/recommend", 422)
    assert line["field"] == "user.interests[3]"
    assert "a-secret" not in text
    assert all(line["status"] >= 400 for line in lines)
