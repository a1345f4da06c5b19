"""Gradient steps of an offline learner in this process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from algorithms.core.schedule import warm_cosine
from offline.learning.agent import OfflineAgent
from offline.learning.data import Block

LEARNING_RATE, NORM = "learning_rate", "gradient_norm"


class LearningError(ValueError):
    """The numbers have become useless; the message says since when and what to do."""


class Learner(Protocol):
    """Takes gradient steps, wherever."""

    updates: int

    @property
    def agent(self) -> OfflineAgent:
        """With the present weights."""

    def learn(self, block: Block, minibatches: Sequence[Tensor]) -> None:
        """A gradient step for each minibatch of rows of a block."""

    def report(self) -> dict[str, float]:
        """Means over the steps since the last report."""

    def held_out(self, block: Block) -> dict[str, float]:
        """The terms of the loss on other rows, without learning from them."""

    def state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""

    def close(self) -> None:
        """End what was started; the agent stays."""


class LocalLearner:
    """Learns in this process.

    Attributes:
        agent: what learns.
        target: an older copy of it, where learning bootstraps from one.
        updates: gradient steps so far.
    """

    def __init__(self, agent: OfflineAgent, budget: int) -> None:
        """Begin with the agent's weights.

        Args:
            agent: what learns.
            budget: updates after which the learning rate has fallen.
        """
        self.agent, self._budget, self.updates = agent, budget, 0
        self.target: OfflineAgent | None = None
        if agent.needs_target:
            self.target = copy.deepcopy(agent).requires_grad_(False)
        self._parameters = [p for p in agent.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters, lr=agent.options.lr, fused=True)
        self._sums: dict[str, Tensor] = {}
        self._counted = 0
        self.synchronise: Callable[[Sequence[Tensor]], None] | None = None

    def learn(self, block: Block, minibatches: Sequence[Tensor]) -> None:
        """A gradient step for each minibatch of rows of a block."""
        for index in minibatches:
            self.step(block.take(index, self.agent.follows))

    def step(self, columns: dict[str, Tensor], share: float = 1.0) -> None:
        """One gradient step.

        Args:
            columns: of the minibatch, or of a part of it.
            share: of the minibatch that these rows are.
        """
        options, agent = self.agent.options, self.agent.train()
        terms = agent.loss(columns, agent.predict(columns), self.target)
        self._optimizer.zero_grad(set_to_none=True)
        (terms["loss"] * share).backward()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        values = {name: value.detach() * share for name, value in terms.items()}
        if self.synchronise is not None:
            self.synchronise([*gradients, *values.values()])
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, options.grad_clip)
        warmed = (self.updates + 1) / options.warmup_updates if options.warmup_updates else 1.0
        cosine = options.lr_schedule == "cosine"
        rate = warm_cosine(options.lr, self.updates / self._budget, warmed, cosine=cosine)
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self.updates += 1
        if self.target is not None:
            with torch.no_grad():
                agent.update_target(self.target, self.updates)
        self._add({**values, NORM: norm, LEARNING_RATE: torch.tensor(rate)})

    def _add(self, values: dict[str, Tensor]) -> None:
        # In float64 and one by one, so that no number depends on where a run was cut.
        for name, value in values.items():
            before = self._sums.get(name)
            own = value.to(torch.float64)
            self._sums[name] = own if before is None else before + own
        self._counted += 1

    def report(self) -> dict[str, float]:
        """Means over the steps since the last report.

        Raises:
            LearningError: they are not finite.
        """
        found = {name: float(value) / self._counted for name, value in self._sums.items()}
        self._sums, self._counted = {}, 0
        check_finite(found, self.updates)
        return found

    @torch.no_grad()
    def held_out(self, block: Block) -> dict[str, float]:
        """The terms of the loss on other rows, without learning from them."""
        agent = self.agent.eval()
        sums: dict[str, Tensor] = {}
        for index in block.drawn.split(agent.options.minibatch_size):
            columns = block.take(index, agent.follows)
            terms = agent.loss(columns, agent.predict(columns), self.target)
            for name, value in terms.items():
                part = value.to(torch.float64) * len(index)
                sums[name] = sums[name] + part if name in sums else part
        return {name: float(value) / len(block.drawn) for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """All that is needed to continue with the same numbers: tensors and plain data."""
        return {
            "agent": self.agent.state_dict(),
            "target": None if self.target is None else self.target.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "learning": self.agent.learning_state(),
            "updates": self.updates,
            "sums": self._sums,
            "counted": self._counted,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.agent.load_state_dict(state["agent"])
        if self.target is not None:
            self.target.load_state_dict(state["target"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.agent.set_learning_state(state["learning"])
        self.updates, self._counted = state["updates"], state["counted"]
        self._sums = dict(state["sums"])

    def close(self) -> None:
        """Nothing was started."""


def check_finite(numbers: dict[str, float], updates: int) -> None:
    """Refuse to go on with NaN or infinities.

    Raises:
        LearningError: names one.
    """
    for name, value in numbers.items():
        if not abs(value) < float("inf"):
            raise LearningError(
                f"'{name}' is {value} after {updates:,} updates; lower lr or grad_clip, or look "
                "for extreme numbers in the log with `python -m offline.check`"
            )
