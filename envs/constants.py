"""Constant tables of worlds and histories."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Row = Sequence[float]


class Constant:
    """A constant in double precision, converted once for each kind of state it meets."""

    def __init__(self, values: Tensor | Row | Sequence[Row]) -> None:
        """The values, as a tensor or as nested sequences of numbers."""
        self.exact = torch.as_tensor(values, dtype=torch.float64)
        self._converted = self.exact

    def like(self, tensor: Tensor) -> Tensor:
        """The values in the dtype and on the device of `tensor`."""
        if self._converted.dtype != tensor.dtype or self._converted.device != tensor.device:
            self._converted = self.exact.to(tensor)
        return self._converted
