"""A visit of a user who is entered by hand, for policies of own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.spec import Feature, FeatureSpec
from serve.demonstrating.client import Client, Conversation
from serve.demonstrating.labels import Floats, describe
from serve.demonstrating.playing import Track
from serve.demonstrating.visits import ENDPOINT, Item
from serve.simulating.messages import objects


class HandVisit:
    """A user entered by hand, whose clicks are the visitor's.

    Attributes:
        talk: with the endpoint.
        spec: of the endpoint's features.
        user: features by name, as in a request.
        items: candidates of the last answer.
        track: what the visitor clicked.
        epsilon: exploration to ask for.
    """

    over, can_click = False, True

    def __init__(
        self,
        client: Client,
        user: dict[str, Any],
        *,
        candidates: int,
        slate_size: int,
        catalogue: bool = False,
        seed: int = 0,
        epsilon: float = 0.0,
    ) -> None:
        """Begin; nothing is asked yet.

        Args:
            client: of the endpoint.
            user: features by name.
            candidates: drawn for each slate, N, where the endpoint has no items.
            slate_size: K.
            catalogue: whether the endpoint has items of its own.
            seed: of the candidates.
            epsilon: exploration to ask for.

        Raises:
            EndpointError: the endpoint does not answer.
        """
        self.talk, self.user, self.epsilon = Conversation(client), user, epsilon
        self.spec = FeatureSpec.from_json(client.policy()["features"])
        self.items: list[Item] = []
        self.track = Track(ENDPOINT)
        self._count, self._size, self._catalogue = candidates, slate_size, catalogue
        self._rng, self._table = np.random.default_rng(seed), np.zeros((0, 0), np.float32)

    @property
    def tracks(self) -> list[Track]:
        """The visitor's alone."""
        return [self.track]

    def ask(self) -> None:
        """Ask for the next slate.

        Raises:
            EndpointError: it failed; can be called again.
        """
        request: dict[str, Any] = {
            "user_id": "demo-by-hand",
            "user": self.user,
            "slate_size": self._size,
        }
        if self.epsilon:
            request["epsilon"] = self.epsilon
        if not self._catalogue:
            self._table = draw(self.spec.candidate, self._count, self._rng)
            features = objects(self.spec.candidate, self._table)
            step = self.talk.answers
            request["candidates"] = [
                {"id": f"{step}-{number}", "features": values}
                for number, values in enumerate(features)
            ]
        self.items = self._items(self.talk.ask(request))

    def click(self, slot: int | None, told: Mapping[str, float] | None = None) -> None:
        """The visitor clicks, or on nothing.

        Args:
            slot: that is clicked; `None` for none.
            told: what comes back for a click besides, by response feature.

        Raises:
            EndpointError: the next slate could not be had; `ask` tries again.
        """
        assert self.talk.answer is not None, "the page offers no clicks without a slate"
        slots = len(self.talk.answer["slate"])
        self.talk.respond([response(self.spec.response, n == slot, told) for n in range(slots)])
        self.track.clicks.append(float(slot is not None))
        self.ask()

    def _items(self, answer: Mapping[str, Any]) -> list[Item]:
        items = []
        for slot, shown in enumerate(answer["slate"]):
            number = None if self._catalogue else int(shown["id"].rpartition("-")[2])
            title = str(shown["id"]) if number is None else f"Item {number}"
            lines = [] if number is None else describe(self.spec.candidate, self._table[number])
            items.append(
                Item(title, lines, None, slot, float(shown["score"]), float(shown["propensity"]))
            )
        return items


def draw(group: Sequence[Feature], count: int, rng: np.random.Generator) -> Floats:
    """Features at random within their ranges, (count, columns).

    A one-hot has one 1; numbers are uniform on their range, cut to [-1, 1] where it is
    endless; ids are uniform too, and never unknown.
    """
    found = []
    for feature in group:
        if feature.kind == "one_hot":
            found.append(np.eye(feature.size)[rng.integers(feature.size, size=count)])
        elif feature.kind == "id":
            found.append(rng.integers(0, int(feature.high) + 1, size=(count, 1)).astype(float))
        else:
            low, high = span(feature)
            found.append(rng.uniform(low, high, (count, feature.size)))
    return np.concatenate(found, axis=1).astype(np.float32)


def span(feature: Feature) -> tuple[float, float]:
    """The range of a number, with ends near 0 where it has none."""
    low = feature.low if np.isfinite(feature.low) else min(-1.0, feature.high)
    high = feature.high if np.isfinite(feature.high) else max(1.0, low)
    return float(low), float(high)


def response(
    group: Sequence[Feature], clicked: bool, told: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """What comes back for an item: the click, what is told of it, and zeros (or the nearest)."""
    found: dict[str, Any] = {}
    for feature in group:
        low, high = span(feature)
        nothing = min(max(0.0, low), high)
        if feature.name == "click":
            found["click"] = float(clicked)
        elif feature.size == 1:
            found[feature.name] = (told or {}).get(feature.name, nothing) if clicked else nothing
        else:
            found[feature.name] = [nothing] * feature.size
    return found
