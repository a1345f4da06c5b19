"""Plays an agent in a simulator and keeps what happened as columns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from algorithms.core.agent import Agent, Exploration
from algorithms.core.fragment import Fragment, SessionStatistics, Step
from envs.simulator import Observation, Simulator
from envs.spec import Feature

Recorder = Callable[[Fragment], None]

_EVERY = 4
"""Steps of which one is enough for means; responses are wide."""


class Collector:
    """A simulator and an agent, stepped fragment by fragment.

    Attributes:
        simulator: B users side by side.
        agent: whose slates they see.
        cpu: CPU-seconds spent in simulating and in inference so far.
    """

    def __init__(self, simulator: Simulator, agent: Agent, seed: int) -> None:
        """Set up; the first `collect` starts the sessions."""
        self.simulator, self.agent = simulator, agent.to(simulator.device)
        self.cpu = {"simulate": 0.0, "inference": 0.0}
        self._generator = torch.Generator(simulator.device).manual_seed(seed)
        self._observation: Observation | None = None
        self._returns = torch.zeros(simulator.num_users, device=simulator.device)
        self._lengths = torch.zeros_like(self._returns, dtype=torch.int64)

    def start(self, stagger: int) -> None:
        """Start the sessions at different times.

        All users starting together would all finish together, and the learner
        would see one phase of a session at a time. So row b is restarted at
        step b mod `stagger` of a run-in with random actions; its steps are
        neither trained on nor counted.
        """
        observation = self.simulator.reset()
        rows = torch.arange(self.simulator.num_users)
        for step in range(stagger):
            actions = self._random_actions(observation.mask)
            observation = self.simulator.step(actions).observation
            restarted = rows[rows % stagger == step]
            if len(restarted):
                observation = self.simulator.restart(restarted)
        self._observation = observation

    def _random_actions(self, mask: Tensor) -> Tensor:
        spec = self.simulator.spec
        if spec.actions == "slate":
            return random_slates(mask, self.simulator.slate_size, self._generator)
        return random_items(spec.candidate, len(mask), self._generator)

    @torch.no_grad()
    def collect(
        self, num_steps: int, exploration: Exploration, *, stagger: int = 0, policy_version: int = 0
    ) -> tuple[Fragment, SessionStatistics]:
        """Play T steps.

        Args:
            num_steps: T.
            exploration: how far to depart from the best slates.
            stagger: length of the run-in before the very first step.
            policy_version: kept with the fragment.
        """
        if self._observation is None:
            self.start(stagger)
        assert self._observation is not None
        observation, size = self._observation, self.simulator.slate_size
        steps: list[Step] = []
        final_extras: list[dict[str, Tensor]] = []
        returns: list[Tensor] = []
        lengths: list[Tensor] = []
        departures: list[Tensor] = []
        departs = exploration.epsilon > 0 or exploration.temperature > 0
        clock = time.thread_time()
        for number in range(num_steps):
            decision = self.agent.decide(observation, size)
            distribution = self.agent.distribution_of(decision, observation, exploration, size)
            slates, slot_log_probs = distribution.sample(self._generator)
            if departs and number % _EVERY == 0:
                departures.append((slates != distribution.mode()).any(dim=1))
            clock = self._spend("inference", clock)
            transition = self.simulator.step(slates)
            steps.append(
                Step(
                    observation,
                    slates,
                    slot_log_probs,
                    decision.extras,
                    transition,
                    distribution,
                )
            )
            self._returns += transition.reward
            self._lengths += 1
            if len(transition.finished):
                returns.append(self._returns[transition.finished])
                lengths.append(self._lengths[transition.finished])
                self._returns[transition.finished] = 0.0
                self._lengths[transition.finished] = 0
            observation = transition.observation
            clock = self._spend("simulate", clock)
            final_extras.append(self._final_extras(transition))
        self._observation = observation
        last_extras = self.agent.decide(observation, size).extras
        self._spend("inference", clock)
        fragment = Fragment(steps, observation, last_extras, final_extras, policy_version)
        check_rewards(fragment.happened("reward"))
        return fragment, self._statistics(fragment, returns, lengths, departures)

    def _final_extras(self, transition: Any) -> dict[str, Tensor]:
        if len(transition.finished) and bool(transition.truncated.any()):
            extras: dict[str, Tensor] = self.agent.decide(
                transition.final, self.simulator.slate_size
            ).extras
            return extras
        return {}

    def _statistics(
        self,
        fragment: Fragment,
        returns: list[Tensor],
        lengths: list[Tensor],
        departures: list[Tensor],
    ) -> SessionStatistics:
        response = torch.cat([step.transition.response for step in fragment.steps[::_EVERY]])
        numbers = {
            "reward": fragment.happened("reward"),
            "non_greedy": torch.cat(departures).float() if departures else response.new_zeros(1),
            **self.simulator.metrics(response),
        }
        return SessionStatistics(
            returns=torch.cat([*returns, self._returns[:0]]).cpu().numpy(),
            lengths=torch.cat([*lengths, self._lengths[:0]]).cpu().numpy(),
            means={name: float(value.mean()) for name, value in numbers.items()},
        )

    def _spend(self, what: str, since: float) -> float:
        now = time.thread_time()
        self.cpu[what] += now - since
        return now

    def get_state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers."""
        return {
            "simulator": None if self._observation is None else self.simulator.get_state(),
            "generator": self._generator.get_state(),
            "returns": self._returns.cpu(),
            "lengths": self._lengths.cpu(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`."""
        self._generator.set_state(state["generator"])
        self._returns = state["returns"].to(self.simulator.device, copy=True)
        self._lengths = state["lengths"].to(self.simulator.device, copy=True)
        self._observation = None
        if state["simulator"] is not None:
            self.simulator.set_state(state["simulator"])
            self._observation = self.simulator.observe()


def check_rewards(rewards: Tensor) -> None:
    """Refuse rewards, (T, B), that would spoil every estimate.

    Raises:
        ValueError: says which is not finite.
    """
    wrong = (~rewards.isfinite()).nonzero()
    if len(wrong):
        step, row = wrong[0].tolist()
        raise ValueError(
            f"the reward is {float(rewards[step, row])} at step {step} of a fragment, user row "
            f"{row}; every reward must be finite, so mend the environment"
        )


def random_slates(mask: Tensor, slate_size: int, generator: torch.Generator) -> Tensor:
    """Uniformly random slates of distinct eligible positions, (B, K)."""
    order = torch.rand(mask.shape, generator=generator, device=generator.device)
    return order.to(mask.device).masked_fill(~mask, -1.0).topk(slate_size, dim=1).indices


def random_items(features: Sequence[Feature], batch: int, generator: torch.Generator) -> Tensor:
    """Items made of uniformly random numbers within their ranges, (B, A); normal if unbounded."""
    columns = []
    for feature in features:
        shape = (batch, feature.size)
        if math.isfinite(feature.low) and math.isfinite(feature.high):
            drawn = torch.rand(shape, generator=generator, device=generator.device)
            columns.append(feature.low + (feature.high - feature.low) * drawn)
        else:
            columns.append(torch.randn(shape, generator=generator, device=generator.device))
    return torch.cat(columns, dim=1)
