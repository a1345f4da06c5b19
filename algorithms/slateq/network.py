"""The value network of SlateQ: what a click is worth, and what no click is worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SlateQNetwork(nn.Module):
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
        hidden: Sequence[int] = (128, 128),
        item_hidden: Sequence[int] = (),
        layer_norm: bool = True,
        learned_no_click: bool = True,
        learned_choice: bool = False,
        value_scale: float = 50.0,
        initial_value: float = 0.0,
    ) -> None:
        """Build the network.

        Args:
            state_size: columns of user and history together.
            candidate_size: D, columns of a candidate.
            hidden: widths of the layers over the state.
            item_hidden: widths of the layers over a candidate; none uses its features as they are.
            layer_norm: normalise after each layer over the state.
            learned_no_click: False gives no click the value 0.
            learned_choice: adds a head with the logit of each candidate's click.
            value_scale: unit of the outputs, about a tenth to a fifth of a typical return.
            initial_value: of every state before training, in the reward's unit.
        """
        super().__init__()
        self.value_scale, self.learned_no_click = value_scale, learned_no_click
        self.body = _layers(state_size, hidden, layer_norm)
        self.item = _layers(candidate_size, item_hidden, layer_norm=False)
        width = hidden[-1] if hidden else state_size
        item_width = item_hidden[-1] if item_hidden else candidate_size
        self._item_width = item_width
        # One column more on the item's side: a constant, which makes <h, e> affine.
        self._groups = 2 if learned_choice else 1
        self.head = nn.Linear(width, 1 + self._groups * (item_width + 1))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = initial_value / value_scale

    @property
    def learned_choice(self) -> bool:
        """Whether `choice_logits` may be called."""
        return self._groups == 2

    def encode(self, user: Tensor, history: Tensor) -> Tensor:
        """State columns (B, U), (B, H) to the head's outputs (B, ...)."""
        output: Tensor = self.head(self.body(torch.cat([user, history], dim=1)))
        return output

    def no_click_value(self, code: Tensor) -> Tensor:
        """Q(s, no click), (B,)."""
        return (
            code[:, 0] * self.value_scale if self.learned_no_click else torch.zeros_like(code[:, 0])
        )

    def item_values(self, code: Tensor, candidates: Tensor) -> Tensor:
        """Q(s, i), (B, N), of candidates (B, N, D)."""
        return (code[:, :1] + self._product(code, candidates, 0)) * self.value_scale

    def choice_logits(self, code: Tensor, candidates: Tensor) -> Tensor:
        """Logit of each candidate's click against 0 for no click, (B, N)."""
        return self._product(code, candidates, 1)

    def _product(self, code: Tensor, candidates: Tensor, group: int) -> Tensor:
        start = 1 + group * (self._item_width + 1)
        weights = code[:, start : start + self._item_width]
        bias = code[:, start + self._item_width : start + self._item_width + 1]
        return torch.baddbmm(bias[:, :, None], self.item(candidates), weights[:, :, None]).squeeze(
            2
        )


def _layers(size: int, widths: Sequence[int], layer_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Linear(size, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.SiLU())
        size = width
    return nn.Sequential(*layers)
