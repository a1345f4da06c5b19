from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from offline.log.schema import Header
from serve.ingress import make_app
from serve.schemas import example_responses
from serve.settings import Limits, Settings
from tests.serve.conftest import KEYS, Endpoint, request_of

SMALL = Settings(limits=Limits(max_candidates=20, max_body_bytes=20_000, max_batch=3))


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[TestClient]:
    with TestClient(make_app(endpoint.engine(settings=SMALL), KEYS)) as found:
        yield found


def post(client: TestClient, data: Any, path: str = "/v1/recommend") -> Any:
    return client.post(path, content=json.dumps(data), headers={"content-type": "application/json"})


def test_a_session_over_http(client: TestClient, header: Header, endpoint: Endpoint) -> None:
    request = request_of(header)
    first = post(client, request)
    assert first.status_code == 200
    answer = first.json()
    assert {item["id"] for item in answer["slate"]} <= {f"item-{n}" for n in range(8)}
    responses = example_responses(header.spec, 3)
    second = post(client, {**request, "session": answer["session"], "responses": responses}).json()
    assert (answer["step"], second["step"]) == (0, 1)
    given = {"impression_id": second["impression_id"], "responses": responses}
    accepted = post(client, given, "/v1/feedback")
    assert accepted.json() == {"impression_id": second["impression_id"], "accepted": True}
    rows, feedback = endpoint.lines(), endpoint.lines("feedback")
    assert [row["impression_id"] for row in rows] == [
        answer["impression_id"],
        second["impression_id"],
    ]
    assert rows[0]["log_propensity"] == pytest.approx(answer["log_propensity"], rel=1e-6)
    assert list(feedback[0]) == ["impression_id", "time", "response", "slots"]
    assert feedback[0]["slots"] == 3
    assert len(feedback[0]["response"]) == 3 * 24


def test_examples_of_the_description_work_when_pasted(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    (example,) = schemas["RecommendRequest"]["examples"]
    assert post(client, example).status_code == 200
    (batch,) = schemas["BatchRequest"]["examples"]
    assert post(client, batch, "/v1/recommend/batch").status_code == 200
    (feedback,) = schemas["FeedbackRequest"]["examples"]
    assert post(client, feedback, "/v1/feedback").status_code == 200


def test_the_page_of_the_description_loads_nothing_from_elsewhere(endpoint: Endpoint) -> None:
    with TestClient(make_app(endpoint.engine(), KEYS, api_key="secret")) as client:
        page = client.get("/docs").text
        found = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(found) == 3 and all(path.startswith("/docs/files/") for path in found)
        assert all(client.get(path).status_code == 200 for path in found)
        assert client.get("/v1/policy").status_code == 401


def test_sessions_of_wide_slates_go_on(endpoint: Endpoint, header: Header) -> None:
    engine = endpoint.engine(settings=Settings(limits=Limits(max_slate=255)))
    with TestClient(make_app(engine, KEYS)) as client:
        request = request_of(header, candidates=255, slate_size=255)
        first = post(client, request).json()
        assert len(first["session"]) == engine.tokens.longest(255) > 20_000
        again = post(client, {**request, "session": first["session"]})
        assert again.json()["step"] == 1
        longer = post(client, {**request, "session": first["session"] + "A"})
        assert longer.status_code == 422 and longer.json()["field"] == "session"


def test_answers_are_as_described(client: TestClient, header: Header) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    answer = {**schemas["Answer"], "components": document["components"]}
    found = post(client, request_of(header)).json()
    jsonschema.validate(found, answer)


def test_what_the_server_is(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "swagger" in client.get("/docs").text.lower()
    found = client.get("/v1/policy").json()
    (arm,) = found["arms"]
    assert (arm["arm"], arm["share"], arm["policy"]) == ("arm-0", 1.0, "click_maximiser")
    assert arm["epsilon"] == 0.2
    assert found["features"]["user"][0]["size"] == 20
    assert found["limits"]["max_candidates"] == 20


def test_a_server_without_policy_is_alive_and_not_ready(endpoint: Endpoint, header: Header) -> None:
    engine = endpoint.engine()
    engine.live = None
    client = TestClient(make_app(engine, KEYS))
    assert client.get("/healthz").status_code == 200
    for answer in (
        client.get("/readyz"),
        client.get("/v1/policy"),
        post(client, request_of(header)),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == "no policy is loaded yet" or "soon" in answer.text


def test_a_batch(client: TestClient, header: Header) -> None:
    request = request_of(header)
    found = post(
        client, {"requests": [request, {**request, "slate_size": 1}]}, "/v1/recommend/batch"
    )
    assert [len(answer["slate"]) for answer in found.json()["answers"]] == [3, 1]


def test_one_wrong_request_refuses_a_batch(
    client: TestClient, header: Header, endpoint: Endpoint
) -> None:
    request = request_of(header)
    wrong = {**request, "pinned": [{"slot": 9, "id": "item-0"}]}
    found = post(client, {"requests": [request, wrong]}, "/v1/recommend/batch")
    assert found.status_code == 422
    assert found.json()["field"] == "requests[1].pinned[0].slot"
    assert endpoint.lines() == []
    many = post(client, {"requests": [request] * 4}, "/v1/recommend/batch")
    assert many.json() == {
        "error": "requests is a list of 4; it must have at most 3 entries",
        "field": "requests",
    }


def candidate(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"id": f"item-{number}", "features": {"features": [0.0] * 20}, **changes}


MANY = [candidate(number) for number in range(21)]
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"slate_size": "3"}, "slate_size", "slate_size is '3'; it must be a valid integer"),
    ({"slate_size": 0}, "slate_size", "slate_size is 0; it must be greater than or equal to 1"),
    ({"slate_size": 51}, "slate_size", "slate_size is 51; it must be less than or equal to 50"),
    (
        {"slate_size": 9},
        "slate_size",
        "slate_size is 9, but 8 of 8 candidates are eligible; ask for fewer or offer more",
    ),
    (
        {"excluded": ["item-0", "item-1", "item-2", "item-3", "item-4", "item-5"]},
        "slate_size",
        "slate_size is 3, but 2 of 8 candidates are eligible; ask for fewer or offer more",
    ),
    ({"eligible": []}, "slate_size", "slate_size is 3, but 0 of 8 candidates are eligible"),
    ({"candidates": []}, "candidates", "candidates is a list of 0; it must have at least 1"),
    ({"candidates": MANY}, "candidates", "candidates is a list of 21; it must have at most 20"),
    (
        {"candidates": [candidate(1), candidate(2), candidate(1)]},
        "candidates[2].id",
        "candidates[2].id is 'item-1', which an earlier candidate has; ids must differ",
    ),
    ({"candidates": [candidate(id="")]}, "candidates[0].id", "at least 1 character"),
    ({"candidates": [candidate(id=7)]}, "candidates[0].id", "is 7; it must be a valid string"),
    (
        {"candidates": [candidate(features={"features": [0.0] * 19})]},
        "candidates[0].features.features",
        "is a list of 19; it must have at least 20 entries",
    ),
    (
        {"candidates": [candidate(features={"features": [0.0] * 21})]},
        "candidates[0].features.features",
        "it must have at most 20 entries",
    ),
    (
        {"candidates": [candidate(features={})]},
        "candidates[0].features.features",
        "candidates[0].features.features is missing; add it",
    ),
    (
        {"candidates": [candidate(price=3)]},
        "candidates[0].price",
        "candidates[0].price is not known; allowed are: id, features",
    ),
    ({"users": {}}, "users", "users is not known; allowed are: user, candidates, slate_size"),
    ({"user": {"interests": [2.0] * 20}}, "user.interests[0]", "must be less than or equal to 1"),
    ({"user": {"interests": ["a"] * 20}}, "user.interests[0]", "is 'a'; it must be a valid number"),
    ({"user": {"interests": [True] * 20}}, "user.interests[0]", "is true; it must be a valid num"),
    ({"user": {"interests": None}}, "user.interests", "is null; it must be a valid array"),
    ({"user": {"interests": [float("nan")] * 20}}, "user.interests[0]", "is not finite"),
    ({"user": {"interests": [float("inf")] * 20}}, "user.interests[0]", "is not finite"),
    ({"user": 3}, "user", "user is 3; it must be an object"),
    ({"epsilon": 0.6}, "epsilon", "epsilon is 0.6; it must be less than or equal to 0.5"),
    ({"session": "AQID"}, "session", "session is no token of this server"),
    ({"session": "not a token"}, "session", "session is 'not a token'; string should match"),
    ({"responses": [{}]}, "responses[0].click", "responses[0].click is missing; add it"),
    ({"eligible": ["item-9"]}, "eligible[0]", "is 'item-9', which is no candidate"),
    ({"pinned": [{"slot": 3, "id": "item-1"}]}, "pinned[0].slot", "is 3, but the slate has 3"),
    ({"pinned": [{"slot": 0, "id": "item-9"}]}, "pinned[0].id", "which is no candidate; pin"),
    (
        {"pinned": [{"slot": 0, "id": "item-1"}], "excluded": ["item-1"]},
        "pinned[0].id",
        "which is not eligible; pin eligible candidates, each once",
    ),
    (
        {"pinned": [{"slot": 0, "id": "item-1"}, {"slot": 1, "id": "item-1"}]},
        "pinned[1].id",
        "which is pinned already",
    ),
    (
        {"pinned": [{"slot": 0, "id": "item-1"}, {"slot": 0, "id": "item-2"}]},
        "pinned[1].slot",
        "which is pinned already; pin a slot once",
    ),
    ({"request_id": "r" * 129}, "request_id", "is a text of 129 characters; "),
]


@pytest.mark.parametrize(("changes", "field", "sentence"), BAD)
def test_bad_requests_get_one_sentence(
    client: TestClient,
    header: Header,
    endpoint: Endpoint,
    changes: dict[str, Any],
    field: str,
    sentence: str,
) -> None:
    found = post(client, {**request_of(header), **changes})
    assert found.status_code == 422
    assert list(found.json()) == ["error", "field"]
    assert found.json()["field"] == field
    assert sentence in found.json()["error"]
    assert "\n" not in found.json()["error"]
    assert endpoint.lines() == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the body is not valid JSON: EOF while parsing"),
        (b"", "the body is not valid JSON: EOF while parsing"),
        (b"\xff\xfe", "the body is not valid JSON"),
        (b"[]", "the body is a list of 0; it must be an object"),
        (b"null", "the body is null; it must be an object"),
        (b"[" * 10_000, "the body is not valid JSON: recursion limit"),
    ],
)
def test_broken_bodies_get_one_sentence(client: TestClient, body: bytes, sentence: str) -> None:
    found = client.post("/v1/recommend", content=body)
    assert found.status_code == 422
    assert sentence in found.json()["error"]


def test_large_bodies_are_refused_before_they_are_read(client: TestClient) -> None:
    sentence = (
        "the body is larger than 20000 bytes, the most that is allowed; send fewer candidates"
    )
    found = client.post("/v1/recommend", content=b"x" * 50_000_000)
    assert (found.status_code, found.json()["error"]) == (413, sentence)

    def unannounced() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * 10_000

    found = client.post("/v1/recommend", content=unannounced())
    assert (found.status_code, found.json()["error"]) == (413, sentence)


def test_other_content_is_refused(client: TestClient) -> None:
    found = client.post("/v1/recommend", content=b"{}", headers={"content-type": "text/plain"})
    assert found.status_code == 415
    assert found.json()["error"] == "the content type is 'text/plain'; send application/json"


def test_wrong_places_are_told(client: TestClient) -> None:
    missing = client.get("/v1/recomend")
    assert missing.status_code == 404
    assert missing.json()["error"].startswith("there is nothing at /v1/recomend; there are: /v1/re")
    wrong = client.get("/v1/recommend")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"] == "/v1/recommend does not take GET; see /docs"


def test_forged_and_misfitting_feedback_is_refused(
    client: TestClient, header: Header, endpoint: Endpoint
) -> None:
    identity = post(client, request_of(header)).json()["impression_id"]
    responses = example_responses(header.spec, 3)
    forged = identity[:-1] + ("A" if identity[-1] != "A" else "B")
    for given, field, sentence in (
        ({"impression_id": forged, "responses": responses}, "impression_id", "none of this server"),
        (
            {"impression_id": identity, "responses": responses[:2]},
            "responses",
            "responses has 2 entries, but the slate that was shown has 3 slots; send one a slot",
        ),
    ):
        found = post(client, given, "/v1/feedback")
        assert (found.status_code, found.json()["field"]) == (422, field)
        assert sentence in found.json()["error"]
    assert endpoint.lines("feedback") == []


def test_responses_need_their_session_and_its_size(client: TestClient, header: Header) -> None:
    request, responses = request_of(header), example_responses(header.spec, 3)
    found = post(client, {**request, "responses": responses})
    assert found.json()["error"].startswith("responses came without a session; send the token")
    token = post(client, request).json()["session"]
    found = post(client, {**request, "session": token, "responses": responses[:1]})
    assert found.json()["error"].startswith("responses has 1 entries, but the slate that was shown")


def test_a_key_is_asked_for_where_there_is_one(endpoint: Endpoint, header: Header) -> None:
    client = TestClient(make_app(endpoint.engine(), KEYS, api_key="secret"))
    request = request_of(header)
    for headers in ({}, {"x-api-key": "Secret"}, {"x-api-key": ""}):
        found = client.post("/v1/recommend", json=request, headers=headers)
        assert found.status_code == 401
        assert found.json()["error"] == "X-API-Key is missing or wrong; send the key"
    found = client.post("/v1/recommend", json=request, headers={"x-api-key": "secret"})
    assert found.status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/policy").status_code == 401
    assert client.get("/openapi.json").json()["security"] == [{"key": []}]


def test_a_server_that_fails_says_so_without_a_traceback(
    endpoint: Endpoint, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = endpoint.engine()
    monkeypatch.setattr(engine, "recommend", lambda asked: 1 / 0)
    client = TestClient(make_app(engine, KEYS))
    found = post(client, request_of(header))
    assert found.status_code == 500
    assert found.json()["error"] == "the server failed at this request; its log says more"
