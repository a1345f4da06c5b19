"""Q-learning, SARSA and expected SARSA on tables.

Source: Sutton and Barto (2018), Reinforcement Learning, sections 6.4 to 6.6.
Deviations: many users move through the table side by side, so that several
may meet one entry in a step (see `move`); actions follow the table as it was
when their fragment began; SARSA bootstraps from the average over its next
action where it doesn't know that one, at the end of a fragment.

Shapes: B users, T steps, N candidates, S states, A kinds of items.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.core.agent import Agent, Decision
from algorithms.core.fragment import Fragment
from algorithms.core.rows import followed
from algorithms.tabular.discretise import discretiser
from algorithms.tabular.settings import TabularSettings
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec, vector


class TabularAgent(Agent, abc.ABC):
    """A table of values, learned step by step in the order of time.

    Attributes:
        table: Q(s, a), (S, A) float64.
        visits: how often each entry was met, (S, A).
        steps: user-steps learned from, which the exploration schedule goes by.
    """

    absorbs = True
    table: Tensor
    visits: Tensor
    steps: Tensor

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with a constant table.

        Raises:
            ValueError: slates of several items, features that cannot be counted,
                or more entries than allowed.
        """
        super().__init__(spec, history, slate_size, settings)
        self.options = TabularSettings(**settings)
        options = self.options
        self._check_size(slate_size)
        seen = (*spec.user, vector("history", history.size)) if history.size else spec.user
        named = options.state
        self._state = discretiser("state", spec.user if named is None else seen, named)
        self._item = discretiser("item", spec.candidate, options.item)
        shape = (self._state.size, self._item.size)
        if shape[0] * shape[1] > options.max_entries:
            raise ValueError(
                f"{shape[0]:,} states and {shape[1]:,} kinds of items make {shape[0] * shape[1]:,} "
                f"entries, more than max_entries ({options.max_entries:,}); use fewer features or "
                "bins, or dqn"
            )
        self.register_buffer("table", torch.full(shape, options.initial_value).double())
        self.register_buffer("visits", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def _check_size(self, slate_size: int) -> None:
        if slate_size > 1:
            raise ValueError(
                f"a slate world given to a single-item algorithm: slate_size is {slate_size}, and "
                f"{self.name} chooses one item; set slate_size to 1, or use slateq"
            )

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Candidates by their entries; ties by position."""
        self._check_size(slate_size)
        state = self._state(torch.cat([observation.user, observation.history], dim=1))
        values = self.table[state[:, None], self._item(observation.candidates)]
        return Decision(values.to(observation.user.dtype), None, {})

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """A row for each user, with T steps in it, (B, T, ...), so that time keeps its order."""
        following = followed(fragment)
        seen = torch.cat([fragment.observed("user"), fragment.observed("history")], dim=2)
        coming = torch.cat([following["next_user"], following["next_history"]], dim=1)
        items = torch.stack([self._item(step.observation.candidates) for step in fragment.steps])
        by_time = {
            "state": self._state(seen),
            "item": items.gather(2, fragment.slates)[..., 0],
            "reward": fragment.happened("reward"),
            "terminated": fragment.happened("terminated"),
            "truncated": fragment.happened("truncated"),
        }
        shape = (fragment.num_steps, fragment.num_users)
        for name, value in (
            ("next_state", self._state(coming)),
            ("next_items", self._item(following["next_candidates"])),
            ("next_mask", following["next_mask"]),
        ):
            by_time[name] = value.unflatten(0, shape)
        return {name: value.transpose(0, 1).contiguous() for name, value in by_time.items()}

    def absorb(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """Walk through the fragment in the order of time, all users side by side.

        Raises:
            ValueError: rewards that are not finite; the table is as before.
        """
        reward = columns["reward"].double()
        if not bool(reward.isfinite().all()):
            raise ValueError("rewards hold NaN or infinite numbers; every one must be finite")
        epsilon = self.options.epsilon_at(int(self.steps))
        errors = [self._step(columns, reward, t, epsilon) for t in range(reward.shape[1])]
        self.steps += reward.numel()
        met = self.visits > 0
        return {
            "td_error": float(torch.stack(errors).mean()),
            "value": float(self.table[met].mean()),
            "entries_met": float(met.sum()),
        }

    def _step(self, columns: dict[str, Tensor], reward: Tensor, t: int, epsilon: float) -> Tensor:
        """Learn from step t; the mean size of its errors."""
        options = self.options
        now = {name: value[:, t] for name, value in columns.items()}
        values = self.table[now["next_state"][:, None], now["next_items"]]
        value = self.bootstrap(columns, t, values, epsilon)
        going_on = (~now["terminated"]).double()
        target = reward[:, t] + options.gamma * going_on * value
        entries = now["state"] * self.table.shape[1] + now["item"]
        return move(
            self.table.view(-1), self.visits.view(-1), entries, target, options.lr, options.lr_power
        )

    @abc.abstractmethod
    def bootstrap(
        self, columns: dict[str, Tensor], t: int, values: Tensor, epsilon: float
    ) -> Tensor:
        """The value of what follows step t, (B,), of the next candidates' values (B, N)."""

    def average(self, columns: dict[str, Tensor], t: int, values: Tensor, epsilon: float) -> Tensor:
        """The value of what is shown next on average, (B,)."""
        mask = columns["next_mask"][:, t]
        return expected_value(values, mask, epsilon, self.options.temperature)


class QLearningAgent(TabularAgent):
    """Bootstraps from the best next item, whatever is shown."""

    name: ClassVar[str] = "q_learning"

    def bootstrap(
        self, columns: dict[str, Tensor], t: int, values: Tensor, epsilon: float
    ) -> Tensor:
        """The best next value."""
        return values.masked_fill(~columns["next_mask"][:, t], -torch.inf).amax(1)


class SarsaAgent(TabularAgent):
    """Bootstraps from the next item that is shown."""

    name: ClassVar[str] = "sarsa"

    def bootstrap(
        self, columns: dict[str, Tensor], t: int, values: Tensor, epsilon: float
    ) -> Tensor:
        """The next item's value; the average where the fragment or the time limit hides it."""
        average = self.average(columns, t, values, epsilon)
        if t + 1 == columns["state"].shape[1]:
            return average
        shown = self.table[columns["next_state"][:, t], columns["item"][:, t + 1]]
        return torch.where(columns["truncated"][:, t], average, shown)


class ExpectedSarsaAgent(TabularAgent):
    """Bootstraps from what is shown next on average."""

    name: ClassVar[str] = "expected_sarsa"

    def bootstrap(
        self, columns: dict[str, Tensor], t: int, values: Tensor, epsilon: float
    ) -> Tensor:
        """The average of the next values under the policy that acts."""
        return self.average(columns, t, values, epsilon)


def expected_value(values: Tensor, mask: Tensor, epsilon: float, temperature: float) -> Tensor:
    """Mean value of the item shown, (B,), under the slate distribution's single slot.

    Args:
        values: of the candidates, (B, N).
        mask: which may be shown, (B, N) bool.
        epsilon: probability of a uniform one.
        temperature: of the softmax over values; 0 shows the best.
    """
    uniform = values.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)
    eligible = values.masked_fill(~mask, -torch.inf)
    if temperature == 0:
        preferred = eligible.amax(1)
    else:
        weights = (eligible / temperature).softmax(1)
        preferred = (weights * values.masked_fill(~mask, 0.0)).sum(1)
    return (1 - epsilon) * preferred + epsilon * uniform


def move(
    table: Tensor, visits: Tensor, entries: Tensor, target: Tensor, lr: float, lr_power: float
) -> Tensor:
    """Move the entries that users met in one step, in place; the mean size of the errors.

    An entry that n users met moves by 1 - (1 - lr)^n of the way to their mean
    target: what n updates one after the other would do to it, had all of them
    that target. So neither the users' order nor their partition matters.

    Args:
        table: values, (E,) float64.
        visits: how often each was met before, (E,) int64; counted up.
        entries: met by each user, (B,) int64.
        target: of each user, (B,).
        lr: step size.
        lr_power: the step size is lr / visits^lr_power, these visits counted.
    """
    met, where, count = entries.unique(return_inverse=True, return_counts=True)
    mean = torch.zeros_like(met, dtype=table.dtype).index_add_(0, where, target) / count
    error = (target - table[entries]).abs().mean()
    visits[met] += count
    rate = lr / visits[met].double() ** lr_power
    table[met] += (1 - (1 - rate) ** count) * (mean - table[met])
    return error
