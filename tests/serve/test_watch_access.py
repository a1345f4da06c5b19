from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from offline.log.schema import Header
from serve.engine import Engine
from serve.ingress import make_app
from serve.metrics import Metrics
from serve.settings import Limits, Settings
from serve.watching import access
from serve.watching.access import AccessLog, Choice, ids_of, prune
from tests.serve.conftest import KEYS, Clock, Endpoint, policy_of, request_of
from tests.serve.test_guard import Client


def written(folder: Path) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted(folder.glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


class Watched:
    """An endpoint with an access log."""

    def __init__(self, engine: Engine, folder: Path, choice: Choice, clock: Clock) -> None:
        self.folder, self.engine = folder / "access", engine
        self.log = AccessLog(self.folder, "replica-1", choice, engine.metrics, clock=clock)
        self.app = make_app(engine, KEYS, access=self.log)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return written(self.folder)


@pytest.mark.parametrize(
    ("choice", "statuses"), [("off", []), ("errors", [422, 404]), ("all", [200, 422, 404])]
)
def test_the_option_says_what_gets_a_line(
    choice: Choice, statuses: list[int], endpoint: Endpoint, header: Header, clock: Clock
) -> None:
    watched = Watched(endpoint.engine(), endpoint.folder, choice, clock)
    request = request_of(header)
    watched.client.post("/v1/recommend", json=request)
    watched.client.post("/v1/recommend", json={**request, "slate_size": 99})
    watched.client.get("/nothing-there")
    assert [line["status"] for line in watched.lines()] == statuses
    assert watched.folder.exists() == bool(statuses)


def test_an_answer_has_its_ids_and_no_features(
    endpoint: Endpoint, header: Header, clock: Clock
) -> None:
    watched = Watched(endpoint.engine(), endpoint.folder, "all", clock)
    request = {**request_of(header), "request_id": "r-1", "user_id": "somebody"}
    answer = watched.client.post("/v1/recommend", json=request).json()
    (line,) = watched.lines()
    assert line.pop("ms") > 0
    assert line == {
        "time": clock.now,
        "replica": "replica-1",
        "route": "/v1/recommend",
        "status": 200,
        "impressions": [answer["impression_id"]],
        "request_ids": ["r-1"],
        "arms": ["arm-0"],
        "policies": ["click_maximiser arm-0-1"],
    }


def test_a_refusal_has_the_field_and_the_sentence_without_what_was_sent(
    endpoint: Endpoint, header: Header, clock: Clock
) -> None:
    watched = Watched(endpoint.engine(), endpoint.folder, "errors", clock)
    request = {**request_of(header), "request_id": "r-2"}
    request["user"]["interests"][3] = "very private"
    answer = watched.client.post("/v1/recommend", json=request)
    assert "very private" in answer.json()["error"]  # to whom it belongs
    impression = {"impression_id": "forged", "responses": []}
    watched.client.post("/v1/feedback", json=impression)
    first, second = watched.lines()
    assert first["field"] == "user.interests[3]"
    assert first["error"].startswith("user.interests[3] is wrong; it must be")
    assert first["request_ids"] == ["r-2"]
    assert (second["route"], second["impressions"]) == ("/v1/feedback", ["forged"])
    assert "very private" not in (watched.folder / "replica-1.jsonl").read_text()


def test_a_fallback_and_a_failure_have_their_traceback(
    endpoint: Endpoint, header: Header, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)

    def decide(*_: Any) -> Any:
        raise ZeroDivisionError("the policy's fault")

    monkeypatch.setattr(policy.agent, "decide", decide)
    engine = endpoint.engine(policy)
    watched = Watched(engine, endpoint.folder, "errors", clock)
    answer = watched.client.post("/v1/recommend", json=request_of(header))
    assert answer.status_code == 200

    def fail(*_: Any) -> Any:
        raise RuntimeError("our fault")

    monkeypatch.setattr(engine, "recommend", fail)
    request = {**request_of(header), "request_id": "r-3"}
    assert watched.client.post("/v1/recommend", json=request).status_code == 500
    fallback, failure = watched.lines()
    assert (fallback["status"], fallback["fallbacks"]) == (200, ["error"])
    assert fallback["impressions"] == [answer.json()["impression_id"]]
    assert "ZeroDivisionError: the policy's fault" in fallback["traceback"]
    assert (failure["status"], failure["request_ids"]) == (500, ["r-3"])
    assert "RuntimeError: our fault" in failure["traceback"]
    assert "Traceback" not in watched.client.post("/v1/recommend", json=request).text


def test_requests_turned_away_have_a_line(endpoint: Endpoint, header: Header, clock: Clock) -> None:
    engine = endpoint.engine(settings=Settings(limits=Limits(max_in_flight=1)))
    watched = Watched(engine, endpoint.folder, "errors", clock)

    async def play() -> None:
        waiting = Client(watched.app, json.dumps(request_of(header)).encode())
        await asyncio.sleep(0)
        engine.metrics.flush()
        assert engine.metrics.values["recsim_in_flight", ()] == 1
        second = Client(watched.app, b"{}")
        await second.task
        assert second.status == 503
        waiting.arrives.set()
        await waiting.task

    asyncio.run(play())
    (line,) = watched.lines()
    assert (line["status"], line["route"]) == (503, "/v1/recommend")
    engine.metrics.flush()
    assert engine.metrics.values["recsim_in_flight", ()] == 0


def test_too_many_errors_are_counted_and_not_written(tmp_path: Path, clock: Clock) -> None:
    metrics = Metrics()
    log = AccessLog(tmp_path / "access", "a", "errors", metrics, clock=clock)
    for _ in range(130):
        if log.wants(503):
            log.note("/v1/recommend", 503)
    log.flush()
    assert len(written(tmp_path / "access")) == 100
    assert metrics.values["recsim_access_lost", ()] == 30
    assert log.wants(503)  # after the flush there is room


def test_a_full_disk_is_counted_and_answers_go_on(tmp_path: Path, clock: Clock) -> None:
    metrics = Metrics()
    (tmp_path / "access").write_text("no folder")
    log = AccessLog(tmp_path / "access", "a", "errors", metrics, clock=clock)
    log.note("/v1/recommend", 500)
    log.flush()
    log.close()
    assert metrics.values["recsim_access_lost", ()] == 1


def test_files_are_rotated_and_old_ones_go(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_BYTES", 1000)
    log = AccessLog(tmp_path, "a", "all", Metrics(), clock=clock)
    for number in range(40):
        log.note("/v1/recommend", 200, ms=number)
        log.flush()
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.jsonl", "a.jsonl.1", "a.jsonl.2", "a.jsonl.3"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])["ms"] == 39
    monkeypatch.setattr(access, "_FILES", 2)
    prune(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert (tmp_path / "a.jsonl").exists()  # the newest


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", {}),
        (b"[1]", {}),
        (b'{"request_id": 7, "impression_id": ""}', {}),
        (b'{"request_id": "a"}', {"request_ids": ["a"]}),
        (
            b'{"requests": [{"request_id": "a"}, 3, {"request_id": "b"}]}',
            {"request_ids": ["a", "b"]},
        ),
        (b'{"impression_id": "' + b"x" * 500 + b'"}', {"impressions": ["x" * 200]}),
        (b'{"request_id": "a"' + b" " * 70_000 + b"}", {}),
    ],
)
def test_ids_are_found_where_a_body_can_be_read(body: bytes, expected: Any) -> None:
    assert ids_of(body) == expected
