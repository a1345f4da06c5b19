"""Environments of Gymnasium's registry, many side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.from_gymnasium.encoding import spec_of
from envs.history import History
from envs.simulator import Observation, Simulator, Transition
from envs.slates import check_slates

STEPS_WITHOUT_LIMIT = 1000
"""Length at which a session is cut where the environment has no limit of its own."""


class GymnasiumSimulator(Simulator):
    """B copies of an environment, each session with the luck of its user.

    What is observed is the user feature `observation`. Discrete actions are
    candidates, one-hot, shown one at a time; a box of actions is made by the
    agent (`spec.actions` is `box`), and components beyond their bounds act as
    the bounds. The response to any action is a click and the reward.

    A user's luck depends on the seed and the user's number alone: every session
    resets its copy with a seed made of both. So the batch size changes nothing,
    and a saved session is its user and its actions, which are played again;
    both need an environment that the seed decides.

    Gymnasium's own vectorised environments are not used: they hand out the first
    observation of a new session one step late, and share one generator.
    """

    def __init__(
        self,
        name: str,
        num_users: int,
        *,
        seed: int = 0,
        history: Sequence[Mapping[str, Any]] = (),
        replace: bool = True,
        dtype: torch.dtype = torch.float32,
        max_steps: int | None = None,
        **arguments: Any,
    ) -> None:
        """Set a simulator up; call `reset` before the first step.

        Args:
            name: the environment's id.
            num_users: B.
            seed: of all luck, from 0 up.
            history: terms as in `envs.history.Term`; nothing is remembered if not given.
            replace: whether a session that ends is replaced; otherwise the row
                stays at its last observation, with reward 0, and is not stepped.
            dtype: of all numbers.
            max_steps: length at which a session is cut; the environment's own limit
                if not given, or `STEPS_WITHOUT_LIMIT` where it has none.
            **arguments: of the environment.

        Raises:
            ValueError: no users, no steps, or spaces that are not understood.
        """
        for key, value in (("num_users", num_users), ("max_steps", max_steps)):
            if value is not None and value < 1:
                raise ValueError(f"{key} is {value}; it must be at least 1")
        declared = gymnasium.spec(name).max_episode_steps
        self.time_limit: int = max_steps or declared or STEPS_WITHOUT_LIMIT
        self._envs = [
            gymnasium.make(
                name, max_episode_steps=self.time_limit, disable_env_checker=True, **arguments
            )
            for _ in range(num_users)
        ]
        self.num_users, self.slate_size, self.reward_name = num_users, 1, "reward"
        self._actions = self._envs[0].action_space
        self.spec, self._encode, self.num_candidates = spec_of(
            name, self._envs[0].observation_space, self._actions
        )
        self.history = History.from_json(self.spec, history)
        self._seed, self._replaces, self._dtype = seed, replace, dtype
        shape = (num_users, self.num_candidates)
        self._mask = torch.ones(shape, dtype=torch.bool)
        items = torch.zeros(self.num_candidates, self.spec.candidate_size, dtype=dtype)
        self._items = (items if self._is_box else items.fill_diagonal_(1.0)).expand(
            num_users, -1, -1
        )
        self._next_user = 0

    @property
    def _is_box(self) -> bool:
        return self.spec.actions == "box"

    def reset(self, users: Tensor | None = None) -> Observation:
        """Start fresh sessions in all rows."""
        if users is None:
            users = torch.arange(self._next_user, self._next_user + self.num_users)
        if users.shape != (self.num_users,):
            raise ValueError(f"users have shape {tuple(users.shape)}; {self.num_users} play here")
        self._begin(users.tolist())
        self._next_user = max(self._users) + 1
        return self._show()

    def _begin(self, users: list[int]) -> None:
        """Sessions of these users in all rows, from their start."""
        size = self.num_users
        self._users, self._seen = users, [None] * size
        self._played: list[list[Any]] = [[] for _ in range(size)]
        self._over = [False] * size
        self._response = torch.zeros(size, 1, self.spec.response_size, dtype=self._dtype)
        self._has_response = torch.zeros(size, 1, dtype=self._dtype)
        self._history = self.history.initial(size, self._response)
        for row, user in enumerate(users):
            self._start(row, user)

    def _start(self, row: int, user: int) -> None:
        luck = np.random.SeedSequence((self._seed, user)).generate_state(1)[0]
        self._users[row], self._played[row], self._over[row] = user, [], False
        self._seen[row], _ = self._envs[row].reset(seed=int(luck))

    def step(self, slates: Tensor) -> Transition:
        """Act in every session and replace those that end.

        Args:
            slates: positions of actions, (B, 1) int64, or made actions, (B, A) floats.

        Raises:
            ValueError: no such position, a wrong shape, or numbers that are not finite.
        """
        actions = self._native(slates)
        playing = [row for row in range(self.num_users) if not self._over[row]]
        rewards = np.zeros(self.num_users)
        ended, cut = np.zeros(self.num_users, bool), np.zeros(self.num_users, bool)
        for row in playing:
            self._seen[row], rewards[row], ended[row], cut[row], _ = self._envs[row].step(
                actions[row]
            )
            self._played[row].append(actions[row])
        terminated = torch.from_numpy(ended)
        truncated = torch.from_numpy(cut & ~ended)
        response = self._answer(playing, rewards, slates)
        observation = self._show()
        finished = (terminated | truncated).nonzero().squeeze(1)
        final = observation.map(lambda field: field[finished])
        if self._replaces:
            observation = self.restart(finished) if len(finished) else observation
        else:
            for row in finished.tolist():
                self._over[row] = True
        reward = response[:, 0, self.spec.response_slice("reward").start]
        return Transition(observation, response, reward, terminated, truncated, finished, final)

    def _answer(self, playing: list[int], rewards: Any, slates: Tensor) -> Tensor:
        """The responses, (B, 1, 2), which the history takes in."""
        response = torch.zeros_like(self._response)
        response[playing, 0, self.spec.response_slice("click").start] = 1.0
        response[:, 0, self.spec.response_slice("reward").start] = torch.from_numpy(rewards).to(
            self._dtype
        )
        if self._is_box:
            shown = slates[:, None].to(self._dtype)
            self._history = self.history.update(self._history, shown, response)
        else:
            self._history = self.history.update(self._history, self._items, response, slates=slates)
        self._response, self._has_response = response, torch.ones_like(self._has_response)
        return response

    def _native(self, slates: Tensor) -> list[Any]:
        """Actions as the environment takes them."""
        space = self._actions
        if isinstance(space, spaces.Discrete):
            check_slates(slates, self._mask, 1)
            start = int(space.start)
            return [start + position for position in slates[:, 0].tolist()]
        expected = (self.num_users, self.spec.candidate_size)
        if slates.shape != expected or not slates.is_floating_point():
            raise ValueError(
                f"actions have shape {tuple(slates.shape)} and type {slates.dtype}; expected "
                f"{expected} floats: {expected[1]} for each of {expected[0]} users"
            )
        if not bool(slates.isfinite().all()):
            raise ValueError("actions hold NaN or infinite numbers; every one must be finite")
        assert isinstance(space, spaces.Box)
        numbers = slates.cpu().numpy().reshape(self.num_users, *space.shape)
        return list(np.clip(numbers, space.low, space.high).astype(space.dtype))

    def restart(self, rows: Tensor) -> Observation:
        """End the sessions of some rows, (F,) int64, and start fresh ones there."""
        for row in rows.tolist():
            self._start(row, self._next_user)
            self._next_user += 1
        # New tensors, not in-place writes: earlier observations must not change.
        self._response = self._response.index_fill(0, rows, 0.0)
        self._has_response = self._has_response.index_fill(0, rows, 0.0)
        self._history = self._history.index_fill(0, rows, 0.0)
        return self._show()

    def _show(self) -> Observation:
        seen = torch.from_numpy(self._encode(self._seen)).to(self._dtype)
        self._observation = Observation(
            seen, self._items, self._mask, self._response, self._has_response, self._history
        )
        return self._observation

    def observe(self) -> Observation:
        """The current observation, as after `reset` or `step`."""
        return self._observation

    def get_state(self) -> dict[str, Any]:
        """Users, the actions of their sessions so far, and what is remembered of them."""
        return {
            "users": list(self._users),
            "actions": [np.array(actions) for actions in self._played],
            "over": list(self._over),
            "response": self._response,
            "has_response": self._has_response,
            "history": self._history,
            "next_user": self._next_user,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`: play every session again up to where it was."""
        self._begin(list(state["users"]))
        for row, actions in enumerate(state["actions"]):
            for action in actions.tolist() if actions.ndim == 1 else actions:
                self._seen[row] = self._envs[row].step(action)[0]
                self._played[row].append(action)
        self._over, self._next_user = list(state["over"]), state["next_user"]
        self._response, self._has_response = state["response"], state["has_response"]
        self._history = state["history"]
        self._show()
