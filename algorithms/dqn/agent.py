"""DQN: values of single items, or of whole slates as actions.

Sources: Mnih et al. (2015); double: van Hasselt et al. (2016),
arXiv:1509.06461; dueling: Wang et al. (2016), arXiv:1511.06581; full-slate Q:
the baseline of Ie et al. (2019), arXiv:1905.12767. Deviations: actions are
described by their items' features, a session history is observed, and
learning uses lambda-returns on fresh fragments unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.core.agent import Agent, Decision
from algorithms.core.fragment import Fragment
from algorithms.core.identifiers import ids_of
from algorithms.core.settings import refuse_idle
from algorithms.core.slate_actions import (
    check_count,
    eligible_slates,
    item_worths,
    slate_table,
    slates_with,
)
from algorithms.dqn import columns as rows
from algorithms.dqn.network import DQNNetwork
from algorithms.dqn.settings import DQNSettings
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec

_AT_ONCE = 2**15  # slates valued in one piece, which bounds memory and suits caches


class DQNAgent(Agent):
    """Q-values of actions, which are items or slates."""

    name: ClassVar[str] = "dqn"

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights.

        Raises:
            ValueError: slates of several items, but single items as actions; or an
                order of slates that have but one item.
        """
        super().__init__(spec, history, slate_size, settings)
        self.options = DQNSettings(**settings)
        options = self.options
        self.whole = options.actions == "slates"
        self._check_size(slate_size)
        if slate_size == 1:
            refuse_idle(
                options, ["ordered"], "slates of one item have one order", "raise slate_size"
            )
        self.needs_target = options.learning == "replay"
        self.network = DQNNetwork(
            spec.user_size + history.size,
            spec.candidate_size,
            slate_size=slate_size,
            slate_hidden=options.slate_hidden if self.whole else (),
            ordered=options.ordered,
            hidden=options.hidden,
            item_hidden=options.item_hidden,
            layer_norm=options.layer_norm,
            value_scale=options.value_scale,
            initial_value=options.initial_value,
            ids=ids_of(spec, history),
        )

    def _check_size(self, slate_size: int) -> None:
        if slate_size > 1 and not self.whole:
            raise ValueError(
                f"a slate world given to a single-item algorithm: slate_size is {slate_size}, and "
                "dqn with actions 'items' chooses one item; set slate_size to 1, actions to "
                "'slates', or use slateq"
            )
        if self.options.ordered and slate_size > self.slate_size:
            raise ValueError(
                f"slates of {slate_size} are asked for, but this policy knows {self.slate_size} "
                "slots in their order; ask for no more, or train it for that slate_size"
            )

    def _check_count(self, num_candidates: int, slate_size: int) -> None:
        options = self.options
        if self.whole:
            check_count(num_candidates, slate_size, options.ordered, options.max_slates)

    def check_world(self, observation: Observation) -> None:
        """Refuse more slates than `max_slates`."""
        self._check_count(observation.mask.shape[1], self.slate_size)

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """The most valuable action, and what it is worth.

        A candidate's log-weight is the value of the best action that shows it.

        Raises:
            ValueError: the slates are not of a size, or too many, for this agent.
        """
        self._check_size(slate_size)
        code = self.network.encode(observation.user, observation.history)
        mask, device = observation.mask, observation.mask.device
        values, centre = self.values(code, observation.candidates, mask, slate_size)
        value, action = values.max(dim=1)
        best = self.slates(mask.shape[1], slate_size).to(device)[action]
        holding = slates_with(mask.shape[1], slate_size, self.options.ordered).to(device)
        extras = {"value": value, "code": code, "centre": centre, "best": best}
        return Decision(item_worths(values, mask, holding), best, extras)

    def slates(self, num_candidates: int, slate_size: int) -> Tensor:
        """The actions as slates, (M, K), on the CPU.

        Raises:
            ValueError: there are more than `max_slates`.
        """
        self._check_count(num_candidates, slate_size)
        return slate_table(num_candidates, slate_size, self.options.ordered)

    def values(
        self, code: Tensor, candidates: Tensor, mask: Tensor, slate_size: int
    ) -> tuple[Tensor, Tensor]:
        """Q of every action, (B, M), -inf where it may not be shown, and the centre, (B,).

        The centre is the mean advantage over what may be shown, which dueling
        takes off; 0 without dueling.
        """
        table = self.slates(mask.shape[1], slate_size).to(mask.device)
        eligible = eligible_slates(mask, table)
        rows = max(1, _AT_ONCE // len(table))
        parts = zip(code.split(rows), candidates.split(rows), strict=True)
        advantages = torch.cat([self.network.advantages(*part, table) for part in parts])
        base = self.network.base(code)
        centre = mean_among(advantages, eligible) if self.options.dueling else base.new_zeros(1)
        centre = centre.expand(len(base))
        values = (base - centre)[:, None] + advantages
        return values.masked_fill(~eligible, -math.inf), centre

    def shown_value(self, code: Tensor, shown: Tensor, centre: Tensor | float) -> Tensor:
        """Q of the slates shown, (B,), from their items' features (B, K, D)."""
        slots = torch.arange(shown.shape[1], device=shown.device)[None]
        advantage = self.network.advantages(code, shown, slots)[:, 0]
        return self.network.base(code) - centre + advantage

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """Rows with finished targets (`fresh`), or with transitions (`replay`)."""
        if self.options.learning == "fresh":
            return rows.with_targets(self, fragment)
        return rows.with_transitions(self, fragment)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Q(s, a) of the actions taken."""
        code = self.network.encode(columns["user"], columns["history"])
        centre: Tensor | float = 0.0
        if self.options.dueling:
            size = columns["shown"].shape[1]
            centre = self.values(code, columns["candidates"], columns["mask"], size)[1]
        return {"value": self.shown_value(code, columns["shown"], centre)}

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """Squared error to the targets, weighted where the replay is prioritised."""
        if target is None:
            goal = columns["target"]
        else:
            assert isinstance(target, DQNAgent)
            goal = self.bootstrap(columns, target)
        error = (predicted["value"] - goal) / self.options.value_scale
        squared = error.square()
        terms = {"td_loss": squared.mean(), "value": predicted["value"].mean()}
        if "weight" in columns:
            return {
                **terms,
                "loss": (columns["weight"] * squared).mean(),
                "row_errors": error.detach(),
            }
        return {**terms, "loss": terms["td_loss"]}

    @torch.no_grad()
    def bootstrap(self, columns: dict[str, Tensor], target: DQNAgent) -> Tensor:
        """Targets of replayed transitions, (rows,); double Q-learning if asked for."""
        size = columns["shown"].shape[1]
        valued = target._next_values(columns, size)
        chosen = (self._next_values(columns, size) if self.options.double else valued).argmax(1)
        value = valued.gather(1, chosen[:, None])[:, 0]
        return columns["reward"] + columns["discount"] * value

    def _next_values(self, columns: dict[str, Tensor], slate_size: int) -> Tensor:
        code = self.network.encode(columns["next_user"], columns["next_history"])
        return self.values(code, columns["next_candidates"], columns["next_mask"], slate_size)[0]


def mean_among(values: Tensor, eligible: Tensor) -> Tensor:
    """Mean of each row over what is eligible, (B,), of values (B, M)."""
    total = values.masked_fill(~eligible, 0.0).sum(1)
    return total / eligible.sum(1).clamp_min(1)
