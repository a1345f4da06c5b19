"""The value network of DQN: a state's value, and what each action adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from algorithms.core.networks import StateItemNetwork, layers


class DQNNetwork(StateItemNetwork):
    """Q(s, a) = base(s) + <h(s), e(a)>, in the reward's unit.

    An item's e is its encoded features. A slate's is one linear layer for each
    slot, summed and passed on, so that the order counts; or the same layer for
    all slots, so that it does not. Neither depends on the number of candidates.
    """

    def __init__(
        self,
        state_size: int,
        candidate_size: int,
        *,
        slate_size: int = 1,
        slate_hidden: Sequence[int] = (),
        ordered: bool = False,
        **arguments: Any,
    ) -> None:
        """Build the network.

        Args:
            state_size: columns of user and history together.
            candidate_size: D, columns of a candidate.
            slate_size: K.
            slate_hidden: widths of the layers over a slate; none for single items.
            ordered: whether each slot has a layer of its own.
            **arguments: of `StateItemNetwork`.
        """
        product_size = slate_hidden[-1] if slate_hidden else None
        super().__init__(state_size, candidate_size, product_size=product_size, **arguments)
        self.slots, self.rest = nn.ModuleList(), nn.Sequential()
        if slate_hidden:
            # The bias of the first slot's layer serves the sum.
            self.slots.extend(
                nn.Linear(self.item_size, slate_hidden[0], bias=slot == 0)
                for slot in range(slate_size if ordered else 1)
            )
            self.rest = nn.Sequential(nn.SiLU(), layers(slate_hidden[0], slate_hidden[1:], False))

    def base(self, code: Tensor) -> Tensor:
        """Of each state, (B,)."""
        return code[:, 0] * self.value_scale

    def advantages(self, code: Tensor, candidates: Tensor, slates: Tensor) -> Tensor:
        """<h(s), e(a)> of slates (M, K) of candidates (B, N, D): (B, M)."""
        encoded = self.item(candidates)
        encoded = self._pooled(encoded, slates) if self.slots else encoded[:, slates[:, 0]]
        return self.product(code, encoded) * self.value_scale

    def _pooled(self, encoded: Tensor, slates: Tensor) -> Tensor:
        if len(self.slots) == 1:
            # Before the slates are put together, while there are only N rows.
            first = self.slots[0](encoded) - self.slots[0].bias
            total = first[:, slates].sum(2) + self.slots[0].bias
        else:
            parts = [layer(encoded)[:, slates[:, slot]] for slot, layer in enumerate(self.slots)]
            total = sum(parts[1:], start=parts[0])
        output: Tensor = self.rest(total)
        return output
