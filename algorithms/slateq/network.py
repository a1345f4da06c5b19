"""The value network of SlateQ: what a click is worth, and what no click is worth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from algorithms.core.networks import StateItemNetwork


class SlateQNetwork(StateItemNetwork):
    """Q(s, i) of every candidate and Q(s, no click), in the reward's unit.

    An item's value is base(s) + <h(s), e(i)>, so the network doesn't depend on
    the number of candidates. The value of no click is the same base, or 0 as
    in the paper; with the shared base, <h, e> is the advantage of a click.

    Deviation from Ie et al. (2019), arXiv:1905.12767: the paper feeds user and
    document together through one network for each document.
    """

    def __init__(
        self,
        state_size: int,
        candidate_size: int,
        *,
        learned_no_click: bool = True,
        learned_choice: bool = False,
        **arguments: Any,
    ) -> None:
        """Build the network.

        Args:
            state_size: columns of user and history together.
            candidate_size: D, columns of a candidate.
            learned_no_click: False gives no click the value 0.
            learned_choice: adds a head with the logit of each candidate's click.
            **arguments: of `StateItemNetwork`.
        """
        super().__init__(state_size, candidate_size, groups=1 + learned_choice, **arguments)
        self.learned_no_click = learned_no_click

    @property
    def learned_choice(self) -> bool:
        """Whether `choice_logits` may be called."""
        return self.groups == 2

    def no_click_value(self, code: Tensor) -> Tensor:
        """Q(s, no click), (B,)."""
        return (
            code[:, 0] * self.value_scale if self.learned_no_click else torch.zeros_like(code[:, 0])
        )

    def item_values(self, code: Tensor, candidates: Tensor) -> Tensor:
        """Q(s, i), (B, N), of candidates (B, N, D)."""
        return (code[:, :1] + self.product(code, self.item(candidates))) * self.value_scale

    def choice_logits(self, code: Tensor, candidates: Tensor) -> Tensor:
        """Logit of each candidate's click against 0 for no click, (B, N)."""
        return self.product(code, self.item(candidates), group=1)
