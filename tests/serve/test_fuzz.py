"""Requests made from the server's own description, right and wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="serving needs ray[serve]")
schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, settings

from offline.log.schema import Header
from serve.ingress import make_app
from serve.settings import Limits, Settings
from tests.serve.conftest import KEYS, Clock, Endpoint

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture
def description(tmp_path: Path, header: Header) -> Iterator[Any]:
    endpoint = Endpoint(tmp_path, header, Clock())
    limits = Limits(max_candidates=30, max_slate=8, max_batch=3, max_body_bytes=200_000)
    app = make_app(endpoint.engine(settings=Settings(limits=limits)), KEYS)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    for journal in endpoint.journals:
        journal.close()


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(
    max_examples=int(os.environ.get("RECSIM_FUZZ_EXAMPLES", "40")),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_server_or_its_description(case: Any) -> None:
    chosen = schemathesis.checks.CHECKS.get_by_names(CHECKS)
    case.call_and_validate(checks=chosen)
