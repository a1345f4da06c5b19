"""The contract of a batched simulator, and the torch implementation of it.

A `World` holds the dynamics as pure functions of (state, slate, draws); a
`Simulator` plays B users of it side by side and replaces each as it finishes.
Shapes: B users, N candidates, K slate positions, U, D and R columns of the
user, candidate and response features, H of the history.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from envs.history import History
from envs.memory import keep_freed_memory
from envs.noise import AddressedNoise, Noise, StreamNoise
from envs.slates import check_positions, check_slates
from envs.spec import FeatureSpec
from envs.world import Insight, Outcome, State, World, check_sizes, consumed

__all__ = [
    "Observation",
    "Outcome",
    "Simulator",
    "State",
    "TorchSimulator",
    "Transition",
    "World",
    "check_sizes",
    "check_slates",
    "consumed",
]


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


class Simulator(abc.ABC):
    """B users side by side, replaced in place as they finish.

    Attributes:
        spec: features of users, candidates and responses.
        history: what the observations remember of a session.
        num_users: B.
        num_candidates: N.
        slate_size: K.
        time_limit: steps after which a session is cut, `None` for never.
        reward_name: of the function from responses to the reward.
        device: where observations come from and slates must be.
    """

    spec: FeatureSpec
    history: History
    num_users: int
    num_candidates: int
    slate_size: int
    time_limit: int | None
    reward_name: str
    device: torch.device = torch.device("cpu")

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

    def insight(self) -> Insight | None:
        """What the world tells people of the present users and candidates, if anything."""
        return None


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
        replace: bool = True,
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
            replace: whether a user who finishes is replaced; otherwise the row
                gives zeros as responses and rewards and never finishes again,
                and its observations mean nothing.
        """
        if num_users < 1:
            raise ValueError(f"num_users is {num_users}; it must be at least 1")
        self.world, self.num_users = world, num_users
        self.spec, self.num_candidates = world.spec, world.num_candidates
        self.slate_size, self.time_limit = world.slate_size, world.time_limit
        self.reward_name = world.reward_name
        self.history = history or History(world.spec, world.default_history)
        self._dtype, self.device = dtype, torch.device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if source is None:
            if noise == "addressed":
                source = AddressedNoise(seed, dtype)
            elif noise == "stream":
                source = StreamNoise(seed, dtype, self.device)
            else:
                raise ValueError(f"noise is '{noise}'; allowed are 'addressed' and 'stream'")
        self._noise, self._replaces = source, replace
        self._next_user = 0
        shape = (num_users, world.num_candidates)
        self._mask = torch.ones(shape, dtype=torch.bool, device=self.device)

    @torch.no_grad()
    def reset(self, users: Tensor | None = None) -> Observation:
        """Start fresh sessions in all rows."""
        if users is None:
            users = torch.arange(self._next_user, self._next_user + self.num_users)
        if users.shape != (self.num_users,):
            raise ValueError(f"users have shape {tuple(users.shape)}; {self.num_users} play here")
        self._users = users.to(self.device)
        self._next_user = int(users.max()) + 1
        self._steps = torch.zeros_like(self._users)
        self._over = torch.zeros_like(self._users, dtype=torch.bool)
        self._draws = self._noise.at(self._users, self._steps)
        self._state = self.world.new_users(self._draws, self._dtype, self.device)
        shape = (self.num_users, self.slate_size, self.spec.response_size)
        self._response = torch.zeros(shape, dtype=self._dtype, device=self.device)
        self._has_response = self._response[:, 0, :1]
        self._history = self.history.initial(self.num_users, self._response)
        self._state |= self.world.new_candidates(self._state, self._draws)
        return self._observe()

    @torch.no_grad()
    def step(self, slates: Tensor) -> Transition:
        """Show every user a slate and replace those who finish."""
        check_positions(slates, self.num_users, self.num_candidates, self.slate_size)
        outcome = self.world.transition(self._state, slates, self._draws)
        if not self._replaces:
            outcome = self._silence(outcome)
        self._state, response = outcome.state, outcome.response
        self._steps = self._steps + 1
        candidates = self._observation.candidates
        self._history = self.history.update(self._history, candidates, response, slates=slates)
        self._response, self._has_response = response, torch.ones_like(self._has_response)
        if self.time_limit is None:
            truncated = torch.zeros_like(outcome.terminated)
            finished = outcome.terminated.nonzero().squeeze(1)
        else:
            truncated = (self._steps >= self.time_limit) & ~outcome.terminated
            if not self._replaces:
                truncated &= ~self._over
            finished = (outcome.terminated | truncated).nonzero().squeeze(1)
        final = self._finish(finished)
        # After the replacement, so that one call draws the candidates of every row.
        self._draws = self._noise.at(self._users, self._steps)
        self._state = {**self._state, **self.world.new_candidates(self._state, self._draws)}
        return Transition(
            self._observe(),
            response,
            outcome.reward,
            outcome.terminated,
            truncated,
            finished,
            final,
        )

    @torch.no_grad()
    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""
        rows = rows.to(self.device)
        fresh = self._replace(rows)
        draws = self._noise.at(self._users[rows], self._steps[rows])
        self._put(rows, self.world.new_candidates(fresh, draws))
        self._draws = self._noise.at(self._users, self._steps)
        return self._observe()

    def _finish(self, rows: Tensor) -> Observation:
        """The last observation of rows whose session ended, which new users take over."""
        if not len(rows):
            return self._observation.map(lambda field: field[:0])
        state = {key: value.index_select(0, rows) for key, value in self._state.items()}
        draws = self._noise.at(self._users[rows], self._steps[rows])
        user, candidates = self.world.observe(state | self.world.new_candidates(state, draws))
        kept = (self._mask, self._response, self._has_response, self._history)
        final = Observation(user, candidates, *(field.index_select(0, rows) for field in kept))
        if self._replaces:
            self._replace(rows)
        else:
            self._over = self._over.index_fill(0, rows, True)
        return final

    def _silence(self, outcome: Outcome) -> Outcome:
        """Nothing comes back from rows whose session is over."""
        return Outcome(
            outcome.state,
            outcome.response.masked_fill(self._over[:, None, None], 0.0),
            outcome.reward.masked_fill(self._over, 0.0),
            outcome.terminated & ~self._over,
        )

    def _replace(self, rows: Tensor) -> State:
        """New users in some rows, still without candidates; their states."""
        users = torch.arange(
            self._next_user, self._next_user + len(rows), device=self.device, dtype=torch.int64
        )
        self._next_user += len(rows)
        # New tensors, not in-place writes: earlier observations must not change.
        self._users = self._users.index_copy(0, rows, users)
        self._steps = self._steps.index_fill(0, rows, 0)
        self._over = self._over.index_fill(0, rows, False)
        draws = self._noise.at(users, torch.zeros_like(users))
        fresh = self.world.new_users(draws, self._dtype, self.device)
        self._put(rows, fresh)
        self._response = self._response.index_fill(0, rows, 0.0)
        self._has_response = self._has_response.index_fill(0, rows, 0.0)
        self._history = self._history.index_fill(0, rows, 0.0)
        return fresh

    def _put(self, rows: Tensor, entries: State) -> None:
        changed = {key: self._state[key].index_copy(0, rows, entries[key]) for key in entries}
        self._state = {**self._state, **changed}

    def _observe(self) -> Observation:
        user, candidates = self.world.observe(self._state)
        self._observation = Observation(
            user, candidates, self._mask, self._response, self._has_response, self._history
        )
        return self._observation

    def insight(self) -> Insight | None:
        """As the world says; rows whose session is over mean nothing."""
        return self.world.insight(self._state)

    @property
    def state(self) -> State:
        """What the world hides from agents, for references that may know it."""
        return self._state

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers, as tensors on the CPU."""
        tensors = {
            "users": self._users,
            "steps": self._steps,
            "over": self._over,
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

    @torch.no_grad()
    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""
        tensors = {key: value.to(self.device) for key, value in state["tensors"].items()}
        self._users, self._steps = tensors["users"], tensors["steps"]
        self._over = tensors["over"]
        self._response, self._has_response = tensors["response"], tensors["has_response"]
        self._history = tensors["history"]
        self._state = {
            key.removeprefix("world/"): value
            for key, value in tensors.items()
            if key.startswith("world/")
        }
        self._next_user = state["next_user"]
        self._noise.set_state(state["noise"])
        self._draws = self._noise.at(self._users, self._steps)
        self._observe()

    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""
        return self._observation

    def metrics(self, response: Tensor) -> dict[str, Tensor]:
        """Numbers to report a step, (B,) each."""
        return self.world.metrics(response)
