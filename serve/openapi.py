"""The OpenAPI description, with the requests that routes read as raw bytes."""

from __future__ import annotations

import copy
from typing import Any

from pydantic.json_schema import models_json_schema

from serve.schemas import Schemas

_BODIES = {
    "/v1/recommend": "recommend",
    "/v1/recommend/batch": "batch",
    "/v1/feedback": "feedback",
}


def described(document: dict[str, Any], schemas: Schemas, *, secured: bool) -> dict[str, Any]:
    """FastAPI's description with the bodies of requests.

    Args:
        document: of the routes.
        schemas: of the requests.
        secured: whether an API key is asked for.
    """
    found = copy.deepcopy(document)
    models = {key: getattr(schemas, key) for key in _BODIES.values()}
    names, definitions = models_json_schema(
        [(model, "validation") for model in models.values()],
        ref_template="#/components/schemas/{model}",
    )
    components = found.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
    for path, key in _BODIES.items():
        schema = names[models[key], "validation"]
        found["paths"][path]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if secured:
        components["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        }
        found["security"] = [{"key": []}]
    return found
