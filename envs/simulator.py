"""The contract of a batched simulator, and the torch implementation of it.

A `World` holds the dynamics as pure functions of (state, slate, draws); a
`Simulator` plays B users of it side by side and replaces each as it finishes.
Shapes: B users, N candidates, K slate positions, U, D and R columns of the
user, candidate and response features, H of the history.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from envs.history import History, Term
from envs.noise import AddressedNoise, Draws, Noise, StreamNoise
from envs.spec import FeatureSpec

State = dict[str, Tensor]


class Observation(NamedTuple):
    """What an agent sees before each slate. float32 but for `mask`.

    Attributes:
        user: (B, U).
        candidates: (B, N, D).
        mask: (B, N) bool, which candidates may be shown.
        response: to the previous slate, (B, K, R); zeros where there was none.
        has_response: (B, 1), 1 where there was a previous slate.
        history: (B, H).
    """

    user: Tensor
    candidates: Tensor
    mask: Tensor
    response: Tensor
    has_response: Tensor
    history: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Observation:
        """Apply a function to every field."""
        return Observation(*map(function, self))


class Outcome(NamedTuple):
    """What one step of a world gives.

    Attributes:
        state: of the users afterwards.
        response: to each shown document, (B, K, R).
        reward: (B,).
        terminated: (B,) bool, whether the user has left.
    """

    state: State
    response: Tensor
    reward: Tensor
    terminated: Tensor


class Transition(NamedTuple):
    """What one step of a simulator gives.

    Attributes:
        observation: to act on next; of a new user where one has finished.
        response: to the slate just shown, (B, K, R), also of users who finished.
        reward: (B,).
        terminated: (B,) bool, the user left.
        truncated: (B,) bool, the time limit ended the session.
        finished: (F,) int64, rows whose session ended.
        final: last observation of those rows, (F, ...).
    """

    observation: Observation
    response: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    finished: Tensor
    final: Observation


class World(abc.ABC):
    """Users and documents as pure functions; parameters are attributes.

    A subclass sets `spec`, `num_candidates`, `slate_size` and, where a session
    may last for ever, `time_limit` in steps.
    """

    spec: FeatureSpec
    num_candidates: int
    slate_size: int
    time_limit: int | None = None
    default_history: ClassVar[tuple[Term, ...]] = ()

    @abc.abstractmethod
    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """States of fresh users, without candidates."""

    @abc.abstractmethod
    def new_candidates(self, state: State, draws: Draws) -> State:
        """The candidates for the coming step, as entries to put into the state."""

    @abc.abstractmethod
    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """The user's reaction to a slate of candidate positions, (B, K)."""

    @abc.abstractmethod
    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """User features (B, U) and candidate features (B, N, D)."""

    def metrics(self, response: Tensor) -> dict[str, Tensor]:
        """Numbers to report a step, (B,) each, by response feature of the clicked document."""
        return consumed(self.spec, response)


def consumed(spec: FeatureSpec, response: Tensor) -> dict[str, Tensor]:
    """Single-column response features summed over clicked documents, (B,) each."""
    click = response[..., spec.response_slice("click")].squeeze(-1)
    return {
        feature.name: (click * response[..., spec.response_slice(feature.name)].squeeze(-1)).sum(1)
        for feature in spec.response
        if feature.size == 1
    }


def check_sizes(num_candidates: int, slate_size: int) -> None:
    """Refuse worlds that cannot fill a slate."""
    for name, value in (("num_candidates", num_candidates), ("slate_size", slate_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if slate_size > num_candidates:
        raise ValueError(
            f"slate_size is {slate_size}, but only {num_candidates} candidates are offered; "
            "lower slate_size or raise num_candidates"
        )


def check_slates(slates: Tensor, mask: Tensor, slate_size: int) -> None:
    """Refuse slates that do not hold K distinct eligible positions.

    Raises:
        ValueError: wrong shape, a position out of range, repeated or ineligible.
    """
    batch, candidates = mask.shape
    if slates.shape != (batch, slate_size):
        raise ValueError(
            f"slates have shape {tuple(slates.shape)}; expected {(batch, slate_size)}: "
            f"{slate_size} positions for each of {batch} users"
        )
    low, high = (int(bound) for bound in torch.aminmax(slates))
    if low < 0 or high >= candidates:
        raise ValueError(
            f"slates hold position {low if low < 0 else high}; "
            f"allowed are 0 to {candidates - 1}, positions of the {candidates} candidates"
        )
    if slate_size == 1:
        if not bool(mask.gather(1, slates).all()):
            _explain_bad_slate(slates, mask)
        return
    shown = torch.zeros_like(mask, dtype=torch.uint8)
    shown.scatter_add_(1, slates, torch.ones_like(slates, dtype=torch.uint8))
    if bool((shown > mask).any()):
        _explain_bad_slate(slates, mask)


def _explain_bad_slate(slates: Tensor, mask: Tensor) -> None:
    for row, slate in enumerate(slates.tolist()):
        if len(set(slate)) < len(slate):
            raise ValueError(f"slate {slate} of row {row} repeats a position; show each once")
        for position in slate:
            if not mask[row, position]:
                raise ValueError(
                    f"slate {slate} of row {row} shows position {position}, which is not eligible"
                )


class Simulator(abc.ABC):
    """B users side by side, replaced in place as they finish.

    Attributes:
        spec: features of users, candidates and responses.
        history: what the observations remember of a session.
        num_users: B.
        num_candidates: N.
        slate_size: K.
        time_limit: steps after which a session is cut, `None` for never.
    """

    spec: FeatureSpec
    history: History
    num_users: int
    num_candidates: int
    slate_size: int
    time_limit: int | None

    @abc.abstractmethod
    def reset(self, users: Tensor | None = None) -> Observation:
        """Start fresh sessions in all rows.

        Args:
            users: their numbers, (B,) int64; those after the last used ones if not given.
        """

    @abc.abstractmethod
    def step(self, slates: Tensor) -> Transition:
        """Show every user a slate of candidate positions, (B, K) int64.

        Raises:
            ValueError: a slate does not hold K distinct eligible positions.
        """

    @abc.abstractmethod
    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""

    @abc.abstractmethod
    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""

    @abc.abstractmethod
    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers."""

    @abc.abstractmethod
    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""

    def metrics(self, response: Tensor) -> dict[str, Tensor]:
        """Numbers to report a step, (B,) each."""
        return consumed(self.spec, response)


class TorchSimulator(Simulator):
    """Plays a `World` in torch."""

    def __init__(
        self,
        world: World,
        num_users: int,
        *,
        seed: int = 0,
        noise: str = "addressed",
        history: History | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        source: Noise | None = None,
    ) -> None:
        """Set a simulator up; call `reset` before the first step.

        Args:
            world: the dynamics.
            num_users: B.
            seed: of the noise.
            noise: `addressed` (common random numbers) or `stream` (faster).
            history: the world's own if not given.
            dtype: float32, or float64 for exact comparisons.
            device: where the users live.
            source: a noise source to use instead of `noise` and `seed`.
        """
        if num_users < 1:
            raise ValueError(f"num_users is {num_users}; it must be at least 1")
        self.world, self.num_users = world, num_users
        self.spec, self.num_candidates = world.spec, world.num_candidates
        self.slate_size, self.time_limit = world.slate_size, world.time_limit
        self.history = history or History(world.spec, world.default_history)
        self._dtype, self._device = dtype, torch.device(device)
        if source is None:
            if noise == "addressed":
                source = AddressedNoise(seed, dtype)
            elif noise == "stream":
                source = StreamNoise(seed, dtype, self._device)
            else:
                raise ValueError(f"noise is '{noise}'; allowed are 'addressed' and 'stream'")
        self._noise = source
        self._next_user = 0
        self._mask = torch.ones(
            (num_users, world.num_candidates), dtype=torch.bool, device=self._device
        )

    @torch.no_grad()
    def reset(self, users: Tensor | None = None) -> Observation:
        """Start fresh sessions in all rows."""
        if users is None:
            users = torch.arange(self._next_user, self._next_user + self.num_users)
        self._users = users.to(self._device)
        self._next_user = int(users.max()) + 1
        self._steps = torch.zeros_like(self._users)
        draws = self._noise.at(self._users, self._steps)
        self._state = self.world.new_users(draws, self._dtype, self._device)
        self._state.update(self.world.new_candidates(self._state, draws))
        shape = (self.num_users, self.slate_size, self.spec.response_size)
        self._response = torch.zeros(shape, dtype=self._dtype, device=self._device)
        self._has_response = self._response[:, 0, :1]
        self._history = self.history.initial(self.num_users, self._response)
        return self._observe()

    @torch.no_grad()
    def step(self, slates: Tensor) -> Transition:
        """Show every user a slate and replace those who finish."""
        check_slates(slates, self._mask, self.slate_size)
        _, shown = self._observed
        shown = shown.gather(1, slates[:, :, None].expand(-1, -1, shown.shape[2]))
        state, response, reward, terminated = self.world.transition(
            self._state, slates, self._noise.at(self._users, self._steps)
        )
        self._steps = self._steps + 1
        self._history = self.history.update(self._history, shown, response)
        self._response, self._has_response = response, torch.ones_like(self._has_response)
        truncated = torch.zeros_like(terminated)
        if self.time_limit is not None:
            truncated = (self._steps >= self.time_limit) & ~terminated
        draws = self._noise.at(self._users, self._steps)
        self._state = {**state, **self.world.new_candidates(state, draws)}
        observation = self._observe()
        finished = (terminated | truncated).nonzero().squeeze(1)
        final = observation.map(lambda field: field[finished])
        if len(finished):
            self._replace(finished)
            observation = self._observe()
        return Transition(observation, response, reward, terminated, truncated, finished, final)

    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""
        self._replace(rows)
        return self._observe()

    def _replace(self, rows: Tensor) -> None:
        users = torch.arange(
            self._next_user, self._next_user + len(rows), device=self._device, dtype=torch.int64
        )
        self._next_user += len(rows)
        self._users, self._steps = self._users.clone(), self._steps.clone()
        self._users[rows], self._steps[rows] = users, 0
        draws = self._noise.at(users, torch.zeros_like(users))
        fresh = self.world.new_users(draws, self._dtype, self._device)
        fresh.update(self.world.new_candidates(fresh, draws))
        self._state = {
            key: value.index_copy(0, rows, fresh[key]) for key, value in self._state.items()
        }
        # New tensors, not in-place writes: earlier observations must not change.
        self._response = self._response.index_fill(0, rows, 0.0)
        self._has_response = self._has_response.index_fill(0, rows, 0.0)
        self._history = self._history.index_fill(0, rows, 0.0)

    def _observe(self) -> Observation:
        self._observed = self.world.observe(self._state)
        user, candidates = self._observed
        return Observation(
            user, candidates, self._mask, self._response, self._has_response, self._history
        )

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers, as tensors on the CPU."""
        tensors = {
            "users": self._users,
            "steps": self._steps,
            "response": self._response,
            "has_response": self._has_response,
            "history": self._history,
            **{f"world/{key}": value for key, value in self._state.items()},
        }
        return {
            "tensors": {key: value.cpu() for key, value in tensors.items()},
            "next_user": self._next_user,
            "noise": self._noise.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""
        tensors = {key: value.to(self._device) for key, value in state["tensors"].items()}
        self._users, self._steps = tensors["users"], tensors["steps"]
        self._response, self._has_response = tensors["response"], tensors["has_response"]
        self._history = tensors["history"]
        self._state = {
            key.removeprefix("world/"): value
            for key, value in tensors.items()
            if key.startswith("world/")
        }
        self._next_user = state["next_user"]
        self._noise.set_state(state["noise"])
        self._observe()

    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""
        return self._observe()

    def metrics(self, response: Tensor) -> dict[str, Tensor]:
        """Numbers to report a step, (B,) each."""
        return self.world.metrics(response)
