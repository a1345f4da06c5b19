"""One user of Google's RecSim, from the first slate to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cloudpickle  # type: ignore[import-untyped]
import numpy as np

from envs.recsim.composition import Composition
from envs.recsim.importing import unpickle
from envs.recsim.layout import Rows
from envs.recsim.luck import Streams, global_generator_kept, streams, use


class Seen(NamedTuple):
    """What can be observed of a session, in RecSim's own terms.

    Attributes:
        user: an observation of the user.
        documents: observations of the candidates, in slate positions.
        responses: observations of what came back; none before the first slate.
    """

    user: Any
    documents: Sequence[Any]
    responses: Sequence[Any]


class Session:
    """A session of one user, in double precision.

    Attributes:
        number: of the user.
        steps: slates shown so far.
        terminated: whether the user has left.
        truncated: whether the time limit has ended the session.
        seen: the latest observations, not yet encoded.
    """

    seen: Seen

    def __init__(self, composition: Composition, seed: int, number: int) -> None:
        """Start the session of user `number`."""
        self._composition, self.number = composition, number
        self.steps, self.terminated, self.truncated = 0, False, False
        self._luck: Streams = streams(seed, number)
        with global_generator_kept():
            use(self._luck.global_)
            self._environment: Any = composition.build(self._luck)
            user, documents = self._environment.reset()
        self._look(user, documents, ())

    @property
    def ended(self) -> bool:
        """Whether nothing more can be shown."""
        return self.terminated or self.truncated

    @property
    def user(self) -> Rows:
        """Features of the user, (U,)."""
        row: Rows = self._composition.user_layout.encode([self.seen.user])[0]
        return row

    @property
    def candidates(self) -> Rows:
        """Features of the candidates in slate positions, (N, D)."""
        return self._composition.candidate_layout.encode(self.seen.documents)

    @property
    def response(self) -> Rows:
        """To the last slate, (K, R); zeros before the first."""
        if not self.seen.responses:
            shape = (self._composition.slate_size, self._composition.spec.response_size)
            return np.zeros(shape)
        return self._composition.response_layout.encode(self.seen.responses)

    def step(self, slate: Sequence[int]) -> float:
        """Show a slate of candidate positions; gives the reward.

        Raises:
            ValueError: the session has ended, or the slate does not hold K
                distinct positions.
        """
        if self.ended:
            raise ValueError(
                f"the session of user {self.number} has ended after {self.steps} steps; "
                "start a new one"
            )
        self._check(slate)
        with global_generator_kept():
            return self.advance(slate)

    def advance(self, slate: Sequence[int]) -> float:
        """`step` for slates known to be good, within `global_generator_kept`."""
        composition = self._composition
        use(self._luck.global_)
        try:
            user, documents, responses, done = self._environment.step(slate)
            reward = composition.reward(responses)
            observed = [response.create_observation() for response in responses]
        except AssertionError as error:
            raise ValueError(
                f"RecSim's code refuses this step: {error or 'an assertion failed'}"
            ) from error
        if len(observed) != composition.slate_size:
            raise ValueError(
                f"the user model gave {len(observed)} responses to a slate of "
                f"{composition.slate_size}; it must give one for each document"
            )
        self.steps += 1
        self.terminated = bool(done)
        limit = composition.time_limit
        self.truncated = limit is not None and self.steps >= limit and not self.terminated
        self._look(user, documents, observed)
        return reward

    def render(self) -> str:
        """The session as text: a line for the user, one for each candidate and response."""
        spec = self._composition.spec

        def line(title: str, group: Sequence[Any], row: Rows) -> str:
            parts, start = [], 0
            for feature in group:
                values = ", ".join(f"{value:.3g}" for value in row[start : start + feature.size])
                parts.append(f"{feature.name} {values if feature.size == 1 else f'[{values}]'}")
                start += feature.size
            return f"{title}: {'; '.join(parts)}"

        state = "ended" if self.ended else "running"
        lines = [line(f"user {self.number}, step {self.steps}, {state}", spec.user, self.user)]
        for position, row in enumerate(self.candidates):
            lines.append(line(f"  candidate {position}", spec.candidate, row))
        for slot, row in enumerate(self.response if self.steps else ()):
            lines.append(line(f"  response {slot}", spec.response, row))
        return "\n".join(lines)

    def get_state(self) -> bytes:
        """All that is needed to continue with the same numbers."""
        fields = {key: value for key, value in vars(self).items() if key != "_composition"}
        content: bytes = cloudpickle.dumps(fields)
        return content

    @classmethod
    def from_state(cls, composition: Composition, state: bytes) -> Session:
        """Continue from `get_state`."""
        session = cls.__new__(cls)
        session._composition = composition
        vars(session).update(unpickle(state))
        return session

    def _look(self, user: Any, documents: Any, responses: Sequence[Any]) -> None:
        # Insertion order is slate order; a Gymnasium Dict would sort "1000" before "996".
        found = list(documents.values())
        if len(found) != self._composition.num_candidates:
            raise ValueError(
                f"{self._composition.num_candidates} candidates were asked for, but only "
                f"{len(found)} have ids of their own; the document sampler repeats ids"
            )
        self.seen = Seen(user, found, responses)

    def _check(self, slate: Sequence[int]) -> None:
        size, candidates = self._composition.slate_size, self._composition.num_candidates
        if (
            len(slate) != size
            or len(set(slate)) != size
            or min(slate) < 0
            or max(slate) >= candidates
        ):
            raise ValueError(
                f"slate {list(slate)} is refused; it must hold {size} distinct positions "
                f"from 0 to {candidates - 1}"
            )
