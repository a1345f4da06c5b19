"""One user with several policies: the endpoint's, and others beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from algorithms.evaluation import one_thread
from algorithms.policy import Policy, baseline
from envs.registry import make_simulator
from envs.simulator import TorchSimulator, Transition
from serve.demonstrating.choosing import enter, step_with_click
from serve.demonstrating.labels import Floats

RIVALS = ("random", "click_maximiser")

World = Mapping[str, Any]
Entered = Mapping[str, Sequence[float]]


@dataclass
class Track:
    """What a user met with one policy.

    Attributes:
        name: of the policy.
        rewards: of each step.
        clicks: of each step, 0 or 1.
        users: user features before the first step and after each.
        hidden: numbers that only the simulator knows, by name, as `users`.
        over: whether the session has ended.
    """

    name: str
    rewards: list[float] = field(default_factory=list)
    clicks: list[float] = field(default_factory=list)
    users: list[Floats] = field(default_factory=list)
    hidden: dict[str, list[float]] = field(default_factory=dict)
    over: bool = False

    @property
    def total(self) -> float:
        """The return so far, undiscounted."""
        return float(sum(self.rewards))

    @property
    def click_rate(self) -> float:
        """Clicks a step; 0 before the first."""
        return float(np.mean(self.clicks)) if self.clicks else 0.0


class Player:
    """A user in a simulator of their own, with luck that depends on user and step alone.

    Attributes:
        simulator: of this user.
        track: what was met.
        told: steps in which a visitor clicked in the user's place.
    """

    def __init__(
        self, name: str, world: World, seed: int, user: int, entered: Entered | None = None
    ) -> None:
        """A fresh session.

        Args:
            name: of the policy.
            world: arguments of `make_simulator`.
            seed: of the luck.
            user: number of the user.
            entered: user features in place of the drawn ones.

        Raises:
            ValueError: a feature cannot be entered.
        """
        self._world, self._seed = world, seed
        self.simulator = make_simulator(num_users=1, seed=seed, replace=False, **world)
        self.seen = self.simulator.reset(torch.tensor([user]))
        if entered:
            self.seen = enter(self.simulator, entered, seed)
        self.track, self.told = Track(name), 0
        self._note()

    def step(self, slate: Sequence[int]) -> Transition:
        """The user reacts to a slate of positions, (K,)."""
        with one_thread():
            return self._take(self.simulator.step(torch.tensor([slate])))

    def click(self, slate: Sequence[int], slot: int | None) -> Transition | None:
        """A visitor clicks in the user's place; `None` where the user never would."""
        assert isinstance(self.simulator, TorchSimulator), "the page offers no clicks elsewhere"
        with one_thread():
            shown = torch.tensor([slate])
            found = step_with_click(self.simulator, shown, slot, self._world, self._seed)
        if found is not None:
            self.told += 1
            self._take(found)
        return found

    def _take(self, found: Transition) -> Transition:
        self.seen, track = found.observation, self.track
        track.rewards.append(float(found.reward[0]))
        column = self.simulator.spec.response_slice("click")
        track.clicks.append(float(found.response[0, :, column].sum()))
        track.over = bool(found.terminated[0] | found.truncated[0])
        self._note()
        return found

    def _note(self) -> None:
        self.track.users.append(self.seen.user[0].numpy().copy())
        for name, value in hidden(self.simulator).items():
            self.track.hidden.setdefault(name, []).append(value)


def hidden(simulator: Any) -> dict[str, float]:
    """Single numbers of the only user's state that are not observed."""
    if not isinstance(simulator, TorchSimulator):
        return {}
    observed = {feature.name for feature in simulator.spec.user}
    return {
        name: float(value.reshape(-1)[0])
        for name, value in simulator.state.items()
        if value.numel() == 1 and name not in observed and name != "step"
    }


class Rival:
    """Another policy with the same user and the same luck, played here.

    Attributes:
        player: the user.
    """

    def __init__(self, policy: Policy, player: Player, seed: int) -> None:
        """With the policy, and the seed of its own draws."""
        self._policy, self.player = policy, player
        self._draws = torch.Generator().manual_seed(seed)

    def step(self) -> None:
        """One step, unless the session is over."""
        player = self.player
        if player.track.over:
            return
        with one_thread():
            shown = self._policy.recommend(
                player.seen,
                explore=False,
                slate_size=player.simulator.slate_size,
                generator=self._draws,
            )
        player.step(shown.slates[0].tolist())


def rivals(world: World, seed: int, user: int, entered: Entered | None = None) -> list[Rival]:
    """Those baselines that the world's features allow."""
    found = []
    for number, name in enumerate(RIVALS):
        player = Player(name, world, seed, user, entered)
        simulator = player.simulator
        try:
            policy = baseline(name, simulator.spec, simulator.history, simulator.slate_size)
        except ValueError:  # nothing observed says what attracts
            continue
        own = int(np.random.SeedSequence((seed, user, number)).generate_state(1, np.uint64)[0])
        found.append(Rival(policy, player, own >> 1))
    return found
