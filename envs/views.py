"""Simulators seen as `gymnasium.Env`, as `gymnasium.vector.VectorEnv`, and flattened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, SupportsFloat

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs, seeding
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from envs.registry import make_simulator
from envs.simulator import Transition
from envs.spaces import SlateSpace, action_space, observation_space, to_numpy

__all__ = ["FlatView", "RecSimEnv", "RecSimVectorEnv", "action_space", "observation_space"]

Arrays = dict[str, NDArray[Any]]
Info = dict[str, Any]
Slate = NDArray[np.integer[Any]]

_USERS = 2**62


def _slates(actions: Any, batch: int) -> Tensor:
    """Actions as int64 slates (B, K); the simulator checks what they hold."""
    slates = np.asarray(actions)
    if slates.dtype.kind not in "iu":
        raise ValueError(f"a slate holds positions, which are integers, not {slates.dtype}")
    return torch.from_numpy(slates.astype(np.int64).reshape(batch, -1))


class RecSimEnv(gymnasium.Env[Arrays, Slate]):
    """One user of a world at a time.

    The user is drawn from the environment's own generator, and all luck
    follows from the user: `reset(seed=s)` starts the same session every time.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi"],
        "render_fps": 1,
    }

    def __init__(
        self,
        name: str,
        *,
        backend: str = "torch",
        render_mode: str | None = None,
        history: Sequence[dict[str, Any]] | None = None,
        **arguments: Any,
    ) -> None:
        """An environment of one world.

        Args:
            name: of the world.
            backend: `torch`, or `google` for the published RecSim code.
            render_mode: `ansi` makes `render` return text.
            history: terms as in `envs.history.Term`; the world's own if not given.
            **arguments: of the world.
        """
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode is '{render_mode}'; allowed is 'ansi'")
        self.render_mode = render_mode
        self._simulator = make_simulator(name, 1, backend=backend, history=history, **arguments)
        self._name, self._running, self._last = name, False, "no slate shown yet"
        self.observation_space = observation_space(self._simulator)
        self.action_space = action_space(self._simulator)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Arrays, Info]:
        """Start a session with a new user."""
        super().reset(seed=seed)
        users = torch.tensor([int(self.np_random.integers(_USERS))])
        observation = self._simulator.reset(users)
        self._running, self._last = True, "no slate shown yet"
        return _row(to_numpy(observation)), {}

    def step(self, action: Slate) -> tuple[Arrays, SupportsFloat, bool, bool, dict[str, Any]]:
        """Show a slate.

        Raises:
            ResetNeeded: no session is running.
            ValueError: the slate does not hold distinct positions.
        """
        if not self._running:
            raise ResetNeeded("no session is running: it has ended or never began; call reset()")
        slate = _slates(action, 1)
        transition = self._simulator.step(slate)
        terminated, truncated = bool(transition.terminated[0]), bool(transition.truncated[0])
        self._running = not (terminated or truncated)
        observation = transition.observation if self._running else transition.final
        metrics = self._simulator.metrics(transition.response)
        info = {name: float(value[0]) for name, value in metrics.items()}
        reward = float(transition.reward[0])
        answers = ", ".join(f"{name} {value:g}" for name, value in info.items())
        self._last = f"slate {slate[0].tolist()}: reward {reward:g}; consumed: {answers}"
        return _row(to_numpy(observation)), reward, terminated, truncated, info

    def render(self) -> str | None:  # type: ignore[override]
        """One line on the last slate, in render mode `ansi`."""
        return f"{self._name}: {self._last}" if self.render_mode == "ansi" else None

    def close(self) -> None:
        """End the session."""
        self._running = False


def _row(arrays: Arrays) -> Arrays:
    return {name: array[0] for name, array in arrays.items()}


class RecSimVectorEnv(gymnasium.vector.VectorEnv[Arrays, Slate, NDArray[Any]]):
    """Many users of a world side by side.

    A row whose session has ended ignores its next action and answers with the
    first observation of a new user and reward 0 (`AutoresetMode.NEXT_STEP`).
    Row i after `reset(seed=s)` is what `RecSimEnv` gives after `reset(seed=s + i)`.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi"],
        "render_fps": 1,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        name: str,
        num_envs: int = 1,
        *,
        backend: str = "torch",
        render_mode: str | None = None,
        history: Sequence[dict[str, Any]] | None = None,
        **arguments: Any,
    ) -> None:
        """As `RecSimEnv`, with `num_envs` users."""
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode is '{render_mode}'; allowed is 'ansi'")
        self.num_envs, self.render_mode = num_envs, render_mode
        self._simulator = make_simulator(
            name, num_envs, backend=backend, history=history, **arguments
        )
        self._name, self._last = name, "no slates shown yet"
        self.single_observation_space = observation_space(self._simulator)
        self.single_action_space = action_space(self._simulator)
        batch_space = gymnasium.vector.utils.batch_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._ended: Tensor | None = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[Arrays, Info]:
        """Start sessions in all rows, with one seed or with one for each row."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if isinstance(seed, int):
            super().reset(seed=seed)
        if seeds is None:
            seeds = [None] * self.num_envs
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds are given for {self.num_envs} environments")
        users = torch.tensor(
            [int(self._generator(each).integers(_USERS)) for each in seeds], dtype=torch.int64
        )
        observation = self._simulator.reset(users)
        self._ended = torch.zeros(self.num_envs, dtype=torch.bool)
        return to_numpy(observation), {}

    def step(self, actions: Slate) -> tuple[Arrays, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Show a slate in every row that is not being reset.

        Raises:
            ResetNeeded: `reset` was never called.
            ValueError: a slate does not hold distinct positions.
        """
        if self._ended is None:
            raise ResetNeeded("no session is running; call reset() first")
        slates, fresh = _slates(actions, self.num_envs), self._ended
        if bool(fresh.any()):
            # The simulator has put new users there and steps every row; whatever
            # these saw is thrown away and they are replaced once more.
            ignored = torch.arange(self._simulator.slate_size)
            slates = torch.where(fresh[:, None], ignored, slates)
        transition = self._simulator.step(slates)
        arrays = self._observe(transition, fresh)
        live = ~fresh
        self._ended = live & (transition.terminated | transition.truncated)
        info: Info = {}
        for name, value in self._simulator.metrics(transition.response).items():
            info[name], info[f"_{name}"] = (value * live).numpy(), live.numpy()
        rewards = (transition.reward * live).double().numpy()
        self._last = f"mean reward {rewards.mean():g}, {int(self._ended.sum())} sessions ended"
        terminated, truncated = transition.terminated & live, transition.truncated & live
        return arrays, rewards, terminated.numpy(), truncated.numpy(), info

    def render(self) -> tuple[Any, ...] | None:
        """One line on the last step, in render mode `ansi`."""
        return (f"{self._name}: {self._last}",) if self.render_mode == "ansi" else None

    def close_extras(self, **kwargs: Any) -> None:
        """End all sessions."""
        self._ended = None

    def _observe(self, transition: Transition, fresh: Tensor) -> Arrays:
        """Observations, of the old user in rows that have just ended."""
        observation = transition.observation
        if bool(fresh.any()):
            observation = self._simulator.restart(fresh.nonzero().squeeze(1))
        arrays = to_numpy(observation)
        kept = ~fresh[transition.finished]
        rows = transition.finished[kept].numpy()
        for name, final in to_numpy(transition.final).items():
            arrays[name][rows] = final[kept.numpy()]
        return arrays

    def _generator(self, seed: int | None) -> np.random.Generator:
        return self.np_random if seed is None else seeding.np_random(seed)[0]


class FlatView(gymnasium.Wrapper[NDArray[np.float32], Any, Arrays, Slate], RecordConstructorArgs):
    """`RecSimEnv` for libraries that know plain boxes and discrete actions.

    Observations are one box: user, candidates, response, has_response and
    history, in this order. Actions number the ordered slates of distinct
    positions; where there are more than `max_discrete`, entry k of a
    `MultiDiscrete([N, N - 1, ...])` picks among the candidates that earlier
    entries have left, so that every action is a slate and every slate an action.
    """

    parts: ClassVar[tuple[str, ...]] = (
        "user",
        "candidates",
        "response",
        "has_response",
        "history",
    )

    def __init__(self, env: gymnasium.Env[Arrays, Slate], max_discrete: int = 1000) -> None:
        """Wrap an environment whose actions are slates."""
        RecordConstructorArgs.__init__(self, max_discrete=max_discrete)
        gymnasium.Wrapper.__init__(self, env)
        slates, observations = env.action_space, env.observation_space
        if not isinstance(slates, SlateSpace) or not isinstance(observations, spaces.Dict):
            raise ValueError(f"FlatView wraps RecSimEnv, whose actions are slates, not {slates}")
        self._left = [slates.num_candidates - k for k in range(slates.slate_size)]
        boxes = [observations[name] for name in self.parts]
        self.observation_space = spaces.Box(
            np.concatenate([box.low.ravel() for box in boxes if isinstance(box, spaces.Box)]),
            np.concatenate([box.high.ravel() for box in boxes if isinstance(box, spaces.Box)]),
            dtype=np.float32,
        )
        count = math.prod(self._left)
        self.action_space = (
            spaces.Discrete(count) if count <= max_discrete else spaces.MultiDiscrete(self._left)
        )

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start a session."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flat(observation), info

    def step(
        self, action: Any
    ) -> tuple[NDArray[np.float32], SupportsFloat, bool, bool, dict[str, Any]]:
        """Show the slate that an action stands for."""
        observation, reward, terminated, truncated, info = self.env.step(self.slate(action))
        return self._flat(observation), reward, terminated, truncated, info

    def slate(self, action: Any) -> NDArray[np.int64]:
        """The positions, (K,), that an action stands for.

        Raises:
            ValueError: the action is outside the space.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"action {action} is outside {self.action_space}")
        if isinstance(self.action_space, spaces.Discrete):
            picks = np.unravel_index(int(action), self._left)
        else:
            picks = tuple(action)
        unused = list(range(self._left[0]))
        return np.array([unused.pop(int(pick)) for pick in picks], dtype=np.int64)

    def _flat(self, observation: Arrays) -> NDArray[np.float32]:
        return np.concatenate([observation[name].ravel() for name in self.parts])
