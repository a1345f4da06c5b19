"""Requests made from the server's own description, right and wrong."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from envs.spec import FeatureSpec
from offline.log.schema import Header
from serve.catalogue import Items, load_items
from serve.settings import CatalogueSection, Limits, Settings
from tests.serve.conftest import KEYS, Clock, Endpoint

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
ROUTES = [
    ("POST", "/v1/recommend"),
    ("POST", "/v1/recommend/batch"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/policy"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


@pytest.fixture(scope="module")
def description(
    tmp_path_factory: pytest.TempPathFactory, header: Header
) -> Iterator[tuple[Any, Path]]:
    from serve.ingress import make_app

    folder = tmp_path_factory.mktemp("log")
    endpoint = Endpoint(folder, header, Clock())
    limits = Limits(max_candidates=30, max_slate=8, max_batch=3, max_body_bytes=200_000)
    items = write_items(folder / "items.parquet", header.spec)
    chosen = CatalogueSection(path=str(items), limit=20)
    app = make_app(
        endpoint.engine(
            settings=Settings(limits=limits, catalogue=chosen),
            catalogue=Items(load_items(items, header.spec, folder), chosen),
        ),
        KEYS,
    )
    yield schemathesis.openapi.from_asgi("/openapi.json", app), folder
    for journal in endpoint.journals:
        journal.close()


def write_items(path: Path, spec: FeatureSpec) -> Path:
    """A catalogue with columns that requests may guess."""
    (feature,) = spec.candidate
    rows = np.eye(feature.size, dtype=np.float32)[np.arange(50) % feature.size]
    names = [f"item-{number}" for number in range(50)]
    kinds = {"0": pa.array(names).dictionary_encode(), "1": np.arange(50), "2": [[1]] * 50}
    pq.write_table(pa.table({"id": names, feature.name: rows.tolist(), **kinds}), path)
    return path


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        (method, path, kind)
        for method, path in ROUTES
        # Nothing but the path can be wrong about a GET.
        for kind in (("right", "wrong") if method == "POST" else ("right",))
    ],
)
def test_no_request_breaks_the_server_or_its_description(
    description: tuple[Any, Path], method: str, path: str, kind: str
) -> None:
    schema, _ = description
    mode = schemathesis.GenerationMode
    operation = schema[path][method]
    chosen = schemathesis.checks.CHECKS.get_by_names(
        CHECKS if kind == "right" else (*CHECKS, "negative_data_rejection")
    )
    cases = operation.as_strategy(
        generation_mode=mode.POSITIVE if kind == "right" else mode.NEGATIVE
    )

    @settings(
        max_examples=int(os.environ.get("RECSIM_FUZZ_EXAMPLES", "30")),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def check(case: Any) -> None:
        statuses[case.call_and_validate(checks=chosen).status_code] += 1

    statuses: Counter[int] = Counter()
    check()
    if kind == "right" and path != "/v1/feedback":  # nobody guesses an impression's id
        assert statuses[200], statuses
