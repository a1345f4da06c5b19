"""The load generator says truly what became of requests, and goals are those of the table."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.core import benchmarks
from benchmarks.serve.load import Load, Session, answered, failed, quantile
from benchmarks.serve.servers import batches, bodies

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
SLOW = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


class Scripted(socketserver.StreamRequestHandler):
    """Gives the answers that the server has, one a request; nothing: closes."""

    def handle(self) -> None:
        server: Any = self.server
        while line := self.rfile.readline():
            size = 0
            while line.strip():
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
                line = self.rfile.readline()
            server.bodies.append(json.loads(self.rfile.read(size)))
            answer = server.script.pop(0)
            if answer is None:
                return
            self.wfile.write(answer)


@pytest.fixture
def server() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Scripted) as made:
        made.bodies, made.script = [], []  # type: ignore[attr-defined]
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def answer(number: int) -> bytes:
    body = b'{"impression_id":"i%d","session":"t%d"}' % (number, number)
    return OK % (len(body), body)


def run(server: Any, script: list[bytes | None], **options: Any) -> Load:
    server.script = list(script)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with Load(url, [b'{"a":1}'], 1, most=len(script), **options) as load:
        load.join()
    return load


def test_every_reply_is_told_apart(server: Any) -> None:
    load = run(server, [answer(1), BUSY, SLOW, None, answer(2)])
    assert [reply.status for reply in load.replies] == [200, 503, 503, 0, 200]
    assert [reply.shed for reply in load.replies] == [False, True, False, False, False]
    assert load.tally() == {"200": 2, "503 with Retry-After": 1, "503": 1, "IncompleteReadError": 1}
    assert [reply.ids for reply in load.replies if reply.ids] == [[b"i1"], [b"i2"]]
    assert (answered(load.replies), failed(load.replies)) == (2, 3)
    assert failed(load.replies, besides=lambda reply: reply.shed) == 2
    assert quantile(load.replies, 0.5) > 0


def test_nobody_at_the_port_is_no_request_in_flight(server: Any) -> None:
    server.shutdown()
    server.server_close()
    load = run(server, [None, None])
    assert [reply.unsent for reply in load.replies] == [True, True]


def test_sessions_go_on_and_end(server: Any) -> None:
    carried = Session(b'[{"click":1}]', steps=3)
    run(server, [answer(1), answer(2), answer(3), answer(4), BUSY, answer(6)], session=carried)
    tokens = [body.get("session") for body in server.bodies]
    assert tokens == [None, "t1", "t2", None, "t4", None]
    assert server.bodies[1]["responses"] == [{"click": 1}]


def test_the_load_stays_on_this_machine() -> None:
    with pytest.raises(ValueError, match="for this machine alone"):
        Load("http://10.0.0.1:80", [b"{}"], 1)


def test_requests_differ_and_batches_hold_as_many_as_they_say() -> None:
    first, second = (json.loads(body) for body in bodies(10, 2))
    assert first["user"] != second["user"]
    assert len(first["candidates"]) == 10
    assert len(first["candidates"][0]["features"]["features"]) == 20
    assert [len(json.loads(body)["requests"]) for body in batches(5, 3)] == [5, 5, 5]


COSTS = {"against_handwritten": 1.9, "against_plain": 1.2, "against_default": 0.19}
GOOD: dict[str, dict[str, Any]] = {
    "serve_cpu": {**COSTS, "candidates": 1.9},
    "serve_deploy": {"failed": 0, "deployments": 10},
    "serve_replica": {"failed": 8, "seconds": 15.0, "answered_not_logged": 0},
    "serve_proxy": {"seconds": 8.0, "answered_not_logged": 0},
    "serve_stop": {"stopped": True, "failed": 0, "lost": 0},
    "serve_overload": {
        "fewest_per_second": 1,
        "failed": 0,
        "times": 4.0,
        "memory_growth": 0.01,
        "before": {"per_second": 100.0},
        "after": {"per_second": 95.0, "failed": 0},
    },
    "serve_log": {
        "answers": 200_000,
        "lost": 0,
        "more": 0,
        "torn": 0,
        "failed": 0,
        "status": 0,
        "joined": {"impressions": {"written": 200_000}},
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_goals_are_met_by_what_is_good(name: str) -> None:
    for row in benchmarks()[name].rows:
        for goal in (row.must, row.aim):
            assert goal is None or goal.met(GOOD[name])


@pytest.mark.parametrize(
    ("name", "change", "must", "aim"),
    [
        ("serve_cpu", {"against_handwritten": 2.1}, True, False),
        ("serve_cpu", {"against_plain": 4.1}, False, False),
        ("serve_deploy", {"failed": 1}, False, False),
        ("serve_deploy", {"deployments": 9}, False, False),
        ("serve_replica", {"seconds": 15.1}, True, False),
        ("serve_replica", {"failed": 9}, False, False),
        ("serve_replica", {"answered_not_logged": 1}, False, False),
        ("serve_proxy", {"seconds": 8.1}, True, False),
        ("serve_proxy", {"seconds": 15.1}, False, False),
        ("serve_stop", {"failed": 1}, False, False),
        ("serve_stop", {"lost": 1}, False, False),
        ("serve_log", {"torn": 1}, False, False),
        ("serve_log", {"answers": 199_999}, False, False),
        ("serve_log", {"joined": {"impressions": {"written": 199_999}}}, False, False),
    ],
)
def test_goals_are_those_of_the_table(
    name: str, change: dict[str, Any], must: bool, aim: bool
) -> None:
    row = benchmarks()[name].rows[0]
    numbers = {**GOOD[name], **change}
    assert row.must is not None and row.must.met(numbers) is must
    assert row.aim is not None and row.aim.met(numbers) is aim


@pytest.mark.parametrize(
    "change",
    [
        {"fewest_per_second": 0},
        {"failed": 1},
        {"times": 3.5},
        {"memory_growth": 0.06},
        {"after": {"per_second": 79.0, "failed": 0}},
    ],
)
def test_overload_must_leave_the_endpoint_as_it_was(change: dict[str, Any]) -> None:
    (row,) = benchmarks()["serve_overload"].rows
    assert row.must is not None
    assert not row.must.met({**GOOD["serve_overload"], **change})
