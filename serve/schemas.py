"""What clients send and get, as pydantic models made from a feature spec.

Requests are validated from raw bytes by pydantic's own parser, which takes half
the time of parsing first. Features are typed dicts: their names are a spec's, and
may be any words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)
from typing_extensions import TypedDict

from envs.spec import Feature, FeatureSpec
from serve.problem import Refused, refusal
from serve.settings import Limits

LARGEST = float(np.finfo(np.float32).max)
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Label = Annotated[str, StringConstraints(max_length=128)]


def _token(longest: int) -> Any:
    return Annotated[
        str, StringConstraints(min_length=1, max_length=longest, pattern=r"^[A-Za-z0-9_-]+$")
    ]


class _Closed(BaseModel):
    model_config = _STRICT


class Pin(_Closed):
    """An item that a slot must show."""

    slot: int = Field(ge=0, description="From 0.")
    id: Identifier


class Near(_Closed):
    """Which items of the catalogue to consider."""

    filters: dict[Identifier, list[str | int | float | bool]] = Field(
        default_factory=dict,
        max_length=32,
        description="By column of the catalogue, the values that an item may have there.",
    )
    limit: int | None = Field(
        None, ge=1, description="Only so many items, the nearest to the user's features."
    )


class ShownItem(_Closed):
    """One slot of an answer."""

    id: str
    score: float = Field(description="Log-weight of the item; higher is preferred.")
    propensity: float = Field(description="Of the item, given the slots before.", ge=0, le=1.00001)


class Answer(_Closed):
    """What is to be shown, and how likely that was."""

    impression_id: str
    slate: list[ShownItem]
    propensity: float = Field(description="Of the ordered slate, given the arm.", ge=0, le=1.00001)
    log_propensity: float
    policy: str
    policy_version: str
    arm: str
    session: str = Field(description="Token to send with the next request.")
    step: int = Field(description="Of the session, from 0.")


class Answers(_Closed):
    """Answers in the order of their requests."""

    answers: list[Answer]


class Accepted(_Closed):
    """Feedback that is in the log."""

    impression_id: str
    accepted: Literal[True] = True


class Status(_Closed):
    """Of the server."""

    status: str


class Problem(_Closed):
    """Why a request was refused, in one sentence."""

    error: str
    field: str = Field(description="What is wrong, such as `candidates[3].id`.")


@dataclass(frozen=True)
class Schemas:
    """Models of the requests for one feature spec.

    Attributes:
        recommend: of `/v1/recommend`.
        batch: of `/v1/recommend/batch`.
        feedback: of `/v1/feedback`.
        known: names that may stand in each object, for error messages.
    """

    recommend: type[BaseModel]
    batch: type[BaseModel]
    feedback: type[BaseModel]
    known: dict[str, list[str]]

    def parse(self, model: type[BaseModel], body: bytes) -> Any:
        """A request.

        Raises:
            Refused: it does not fit the model.
        """
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise refusal(error, self.known) from None


def make_schemas(
    spec: FeatureSpec,
    limits: Limits,
    *,
    catalogue: bool = False,
    token: int = 65_536,
    impression: str = "AQAA",
) -> Schemas:
    """The models for a spec.

    Args:
        spec: of users, candidates and responses.
        limits: of sizes.
        catalogue: whether candidates may be left out.
        token: characters that a session's token may have.
        impression: an id of one slot, for the example.
    """
    user, features, response = (
        _closed(title, {feature.name: _annotation(feature) for feature in group})
        for title, group in (
            ("UserFeatures", spec.user),
            ("ItemFeatures", spec.candidate),
            ("ItemResponse", spec.response),
        )
    )
    item = _closed("Candidate", {"id": Identifier, "features": features})
    items: Any = Annotated[list[item], Field(min_length=1, max_length=limits.max_candidates)]  # type: ignore[valid-type]
    responses: Any = Annotated[list[response], Field(min_length=1, max_length=limits.max_slate)]  # type: ignore[valid-type]
    ids: Any = Annotated[list[Identifier], Field(max_length=limits.max_candidates)]
    fields: dict[str, Any] = {
        "user": (user, ...),
        "candidates": (items | None, None) if catalogue else (items, ...),
        "slate_size": (Annotated[int, Field(ge=1, le=limits.max_slate)], ...),
        "user_id": (Label, ""),
        "session": (_token(token) | None, None),
        "responses": (responses | None, None),
        "eligible": (ids | None, None),
        "excluded": (ids, ()),
        "pinned": (Annotated[list[Pin], Field(max_length=limits.max_slate)], ()),
        "epsilon": (Annotated[float, Field(ge=0, le=limits.max_epsilon)], 0.0),
        "request_id": (Label, ""),
    }
    if catalogue:
        fields["catalogue"] = (Near, Near())
    example = example_request(spec)
    recommend = _model("RecommendRequest", fields, example)
    requests: Any = Annotated[list[recommend], Field(min_length=1, max_length=limits.max_batch)]  # type: ignore[valid-type]
    batch = _model("BatchRequest", {"requests": (requests, ...)}, {"requests": [example]})
    feedback = _model(
        "FeedbackRequest",
        {"impression_id": (_token(128), ...), "responses": (responses, ...)},
        {"impression_id": impression, "responses": example_responses(spec, 1)},
    )
    return Schemas(recommend, batch, feedback, _known(spec, list(fields)))


def _model(name: str, fields: dict[str, Any], example: Any) -> type[BaseModel]:
    config = ConfigDict(**_STRICT, json_schema_extra={"examples": [example]})
    return create_model(name, __config__=config, **fields)


def _closed(title: str, fields: dict[str, Any]) -> Any:
    """A typed dict of these keys alone; names of features may be any words."""
    made: Any = TypedDict(title, fields)  # type: ignore[misc]
    made.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    return made


def _annotation(feature: Feature) -> Any:
    low, high = bounds(feature)
    step = 1 if feature.kind == "id" else None
    value: Any = Annotated[float, Field(ge=low, le=high, multiple_of=step)]
    if feature.kind in ("number", "id"):
        return value
    return Annotated[list[value], Field(min_length=feature.size, max_length=feature.size)]


def bounds(feature: Feature) -> tuple[float, float]:
    """The range of a feature, as wide as float32 makes it: clients may send rounded values."""
    with np.errstate(over="ignore"):
        low = min(feature.low, float(np.float32(feature.low)))
        high = max(feature.high, float(np.float32(feature.high)))
    return max(low, -LARGEST), min(high, LARGEST)


def _known(spec: FeatureSpec, fields: list[str]) -> dict[str, list[str]]:
    names = {
        "": [*fields],
        "user": [f.name for f in spec.user],
        "candidates": ["id", "features"],
        "candidates.features": [f.name for f in spec.candidate],
        "responses": [f.name for f in spec.response],
        "pinned": ["slot", "id"],
        "catalogue": ["filters", "limit"],
    }
    inner = {f"requests.{key}".rstrip("."): value for key, value in names.items()}
    return {**names, **inner}


def _value(feature: Feature, shift: int) -> Any:
    """Something within a feature's range, with few digits."""
    low, high = max(feature.low, -1.0), min(feature.high, 1.0)
    if low > high:  # the whole range lies beyond 1
        low = high = feature.low if math.isfinite(feature.low) else feature.high
    middle = float(low + high) / 2
    if feature.kind == "id":
        return 0
    if feature.kind == "number":
        return middle
    if feature.kind == "one_hot":
        return [float(column == shift % feature.size) for column in range(feature.size)]
    return [high if column == shift % feature.size else middle for column in range(feature.size)]


def _example(group: Sequence[Feature], shift: int = 0, **given: Any) -> dict[str, Any]:
    return {f.name: given.get(f.name, _value(f, shift)) for f in group}


def example_request(spec: FeatureSpec, candidates: int = 4, slate_size: int = 2) -> dict[str, Any]:
    """A request that a server answers."""
    items = [
        {"id": f"item-{number}", "features": _example(spec.candidate, number)}
        for number in range(candidates)
    ]
    return {
        "user_id": "user-1",
        "user": _example(spec.user),
        "candidates": items,
        "slate_size": slate_size,
    }


def example_responses(spec: FeatureSpec, slots: int) -> list[dict[str, Any]]:
    """Responses to a slate of which the first item was clicked."""
    return [_example(spec.response, slot, click=1.0 if slot == 0 else 0.0) for slot in range(slots)]


__all__ = [
    "Accepted",
    "Answer",
    "Answers",
    "Near",
    "Pin",
    "Problem",
    "Refused",
    "Schemas",
    "ShownItem",
    "Status",
    "example_request",
    "example_responses",
    "make_schemas",
]
