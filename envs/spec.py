"""What a world, a log and a policy know about users, candidates and responses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

Kind = Literal["number", "one_hot", "vector", "id"]
Actions = Literal["slate", "box"]


@dataclass(frozen=True)
class Feature:
    """A named block of columns.

    Attributes:
        name: what the field is called in logs, requests and `history` terms.
        kind: `number` (one column), `one_hot` (one column a category),
            `vector` (several numbers that belong together) or `id` (one column
            that holds a whole number from 0 to `high`, or -1 for unknown).
        size: number of columns.
        low: smallest value of any column, in the field's own unit.
        high: largest value of any column; may be infinite.
    """

    name: str
    kind: Kind = "number"
    size: int = 1
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        """Refuse features that no column layout can hold."""
        if self.kind == "number" and self.size != 1:
            raise ValueError(
                f"feature '{self.name}' is a number, so its size is 1, not {self.size}"
            )
        if self.kind == "id" and not (
            self.size == 1 and self.low == -1 and 0 <= self.high < 2**24 and self.high % 1 == 0
        ):
            raise ValueError(
                f"feature '{self.name}' is an id of size {self.size} and range [{self.low}, "
                f"{self.high}]; ids are one column of whole numbers from -1 (unknown) to less than "
                "2^24, which float32 holds exactly"
            )
        if self.size < 1 or self.low > self.high:
            raise ValueError(
                f"feature '{self.name}' has size {self.size} and range [{self.low}, {self.high}]; "
                "the size must be positive and the range not empty"
            )


def number(name: str, low: float = -math.inf, high: float = math.inf) -> Feature:
    """A feature of one column."""
    return Feature(name, "number", 1, low, high)


def one_hot(name: str, size: int) -> Feature:
    """A category as `size` columns of zeros with a single one."""
    return Feature(name, "one_hot", size, 0.0, 1.0)


def vector(name: str, size: int, low: float = -math.inf, high: float = math.inf) -> Feature:
    """Several numbers with one range."""
    return Feature(name, "vector", size, low, high)


def identifier(name: str, count: int) -> Feature:
    """Which of `count` things, by number from 0; -1 is one that is unknown."""
    return Feature(name, "id", 1, -1.0, count - 1.0)


def category(name: str, size: int) -> Feature:
    """A category: a 0/1 number where there are two values, one-hot columns where more."""
    return number(name, 0.0, 1.0) if size == 2 else one_hot(name, size)


@dataclass(frozen=True)
class FeatureSpec:
    """Ordered features of users, candidates and responses.

    Attributes:
        user: what is observed of the user, U columns.
        candidate: what is observed of a document before it is shown, D columns.
        response: what comes back for a shown document, R columns; must hold
            `click`, which marks the consumed document with 1.
        appeal: a user feature and a candidate feature whose dot product says
            how attractive a document is at first sight, or one candidate
            feature that does so alone; `None` where nothing observed does.
        actions: `slate` where an agent picks among candidates; `box` where it makes
            one item itself, numbers within the ranges of the candidate features.
    """

    user: tuple[Feature, ...]
    candidate: tuple[Feature, ...]
    response: tuple[Feature, ...]
    appeal: tuple[str | None, str] | None = None
    actions: Actions = "slate"

    def __post_init__(self) -> None:
        """Check names once, so that nothing downstream has to."""
        for group in (self.user, self.candidate, self.response):
            names = [feature.name for feature in group]
            if len(set(names)) != len(names) or not names:
                raise ValueError(f"feature names must be distinct and present, got {names}")
        if "click" not in [feature.name for feature in self.response]:
            raise ValueError("the response features need one called 'click'")
        if self.appeal is not None:
            user_name, item_name = self.appeal
            item = self._slice(self.candidate, item_name)
            if user_name is not None:
                user = self._slice(self.user, user_name)
                if user.stop - user.start != item.stop - item.start:
                    raise ValueError(
                        f"appeal needs features of one size: {user_name} and {item_name}"
                    )

    @property
    def user_size(self) -> int:
        """U, the number of user columns."""
        return sum(feature.size for feature in self.user)

    @property
    def candidate_size(self) -> int:
        """D, the number of columns of one candidate."""
        return sum(feature.size for feature in self.candidate)

    @property
    def response_size(self) -> int:
        """R, the number of columns of the response to one document."""
        return sum(feature.size for feature in self.response)

    def user_slice(self, name: str) -> slice:
        """Columns of a user feature."""
        return self._slice(self.user, name)

    def candidate_slice(self, name: str) -> slice:
        """Columns of a candidate feature."""
        return self._slice(self.candidate, name)

    def response_slice(self, name: str) -> slice:
        """Columns of a response feature."""
        return self._slice(self.response, name)

    @staticmethod
    def _slice(group: Iterable[Feature], name: str) -> slice:
        start = 0
        for feature in group:
            if feature.name == name:
                return slice(start, start + feature.size)
            start += feature.size
        names = ", ".join(feature.name for feature in group)
        raise ValueError(f"no feature called '{name}'; there are: {names}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; infinite bounds become null, which JSON can hold."""

        def plain(feature: Feature) -> dict[str, Any]:
            fields = asdict(feature)
            return {
                key: None if isinstance(value, float) and math.isinf(value) else value
                for key, value in fields.items()
            }

        groups: dict[str, Any] = {
            group: [plain(feature) for feature in getattr(self, group)]
            for group in ("user", "candidate", "response")
        }
        groups["appeal"] = None if self.appeal is None else list(self.appeal)
        # Left out where it says nothing new: history versions are hashes of this.
        return groups if self.actions == "slate" else {**groups, "actions": self.actions}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of `to_json`."""

        def feature(fields: Mapping[str, Any]) -> Feature:
            low, high = fields["low"], fields["high"]
            return Feature(
                fields["name"],
                fields["kind"],
                fields["size"],
                -math.inf if low is None else low,
                math.inf if high is None else high,
            )

        appeal = data.get("appeal")
        return cls(
            user=tuple(feature(f) for f in data["user"]),
            candidate=tuple(feature(f) for f in data["candidate"]),
            response=tuple(feature(f) for f in data["response"]),
            appeal=None if appeal is None else (appeal[0], appeal[1]),
            actions=data.get("actions", "slate"),
        )


def box(group: tuple[Feature, ...], *leading: int) -> spaces.Box:
    """The Gymnasium space of a feature group, repeated over `leading` axes."""
    low = np.concatenate([np.full(f.size, f.low, np.float32) for f in group])
    high = np.concatenate([np.full(f.size, f.high, np.float32) for f in group])
    shape = (*leading, low.size)
    return spaces.Box(
        np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy(), dtype=np.float32
    )
