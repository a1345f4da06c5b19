"""Networks that value the candidates of a state, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from algorithms.core.identifiers import Columns, Ids, IdVectors


class StateItemNetwork(nn.Module):
    """A base value of the state, and products <h(s), e(i)> with each item.

    The base is for a subclass to use. There may be several groups of products,
    each with an h of its own. One column more on the item's side, a constant,
    makes each product affine. The output layer starts small, so that all
    states begin near `initial_value`.
    """

    def __init__(
        self,
        state_size: int,
        candidate_size: int,
        *,
        hidden: Sequence[int] = (128, 128),
        item_hidden: Sequence[int] = (),
        layer_norm: bool = True,
        groups: int = 1,
        product_size: int | None = None,
        value_scale: float = 50.0,
        initial_value: float = 0.0,
        ids: Ids | None = None,
    ) -> None:
        """Build the network.

        Args:
            state_size: columns of user and history together.
            candidate_size: D, columns of a candidate.
            hidden: widths of the layers over the state.
            item_hidden: widths of the layers over a candidate; none uses its features as they are.
            layer_norm: normalise after each layer over the state.
            groups: of products.
            product_size: columns of e(i), where a subclass makes more of the encoded candidate.
            value_scale: unit of the outputs, about a tenth to a fifth of a typical return.
            initial_value: of every state before training, in the reward's unit.
            ids: columns that hold ids, of which vectors are learned.
        """
        super().__init__()
        self.value_scale, self.groups = value_scale, groups
        of_state, of_item = ids or Ids()
        self.body, width = encoder(state_size, of_state, hidden, layer_norm)
        self.item, self.item_size = encoder(candidate_size, of_item, item_hidden, False)
        self._product_size = self.item_size if product_size is None else product_size
        self.head = nn.Linear(width, 1 + groups * (self._product_size + 1))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = initial_value / value_scale

    def encode(self, user: Tensor, history: Tensor) -> Tensor:
        """State columns (B, U), (B, H) to the head's outputs (B, ...)."""
        output: Tensor = self.head(self.body(torch.cat([user, history], dim=1)))
        return output

    def product(self, code: Tensor, encoded: Tensor, group: int = 0) -> Tensor:
        """<h(s), e(i)> and its constant, (B, N), of encoded items (B, N, E)."""
        size = self._product_size
        start = 1 + group * (size + 1)
        weights, bias = code[:, start : start + size], code[:, start + size : start + size + 1]
        return torch.baddbmm(bias[:, :, None], encoded, weights[:, :, None]).squeeze(2)


def encoder(
    size: int, ids: Columns, widths: Sequence[int], layer_norm: bool
) -> tuple[nn.Sequential, int]:
    """Layers over rows of `size` columns, and how many columns come out."""
    vectors = IdVectors(size, ids) if ids else None
    size = size if vectors is None else vectors.size
    found = layers(size, widths, layer_norm)
    if vectors is not None:
        found.insert(0, vectors)
    return found, widths[-1] if widths else size


def layers(size: int, widths: Sequence[int], layer_norm: bool) -> nn.Sequential:
    """Linear layers of these widths, each normalised if asked for, and SiLU."""
    modules: list[nn.Module] = []
    for width in widths:
        modules.append(nn.Linear(size, width))
        if layer_norm:
            modules.append(nn.LayerNorm(width))
        modules.append(nn.SiLU())
        size = width
    return nn.Sequential(*modules)
