"""What a slate may hold: K distinct positions of eligible candidates."""

from __future__ import annotations

import torch
from torch import Tensor


def check_slates(slates: Tensor, mask: Tensor, slate_size: int) -> None:
    """Refuse slates that do not hold K distinct eligible positions.

    Raises:
        ValueError: wrong shape or type, a position out of range, repeated or ineligible.
    """
    batch, candidates = mask.shape
    check_positions(slates, batch, candidates, slate_size)
    if not bool(mask.gather(1, slates).all()):
        row, slot = (~mask.gather(1, slates)).nonzero()[0].tolist()
        slate = slates[row].tolist()
        raise ValueError(
            f"slate {slate} of row {row} shows position {slate[slot]}, which is not eligible"
        )


def check_positions(slates: Tensor, batch: int, candidates: int, slate_size: int) -> None:
    """Refuse slates that do not hold K distinct positions; `check_slates` without a mask."""
    if slates.shape != (batch, slate_size) or slates.dtype != torch.int64:
        raise ValueError(
            f"slates have shape {tuple(slates.shape)} and type {slates.dtype}; expected "
            f"{(batch, slate_size)} and torch.int64: {slate_size} positions for each of {batch} "
            "users"
        )
    low, high = (int(bound) for bound in torch.aminmax(slates))
    if low < 0 or high >= candidates:
        raise ValueError(
            f"slates hold position {low if low < 0 else high}; "
            f"allowed are 0 to {candidates - 1}, positions of the {candidates} candidates"
        )
    if slate_size == 1:
        return
    repeated = _repeated(slates, candidates)
    if bool(repeated.any()):
        row = int(repeated.nonzero()[0])
        raise ValueError(
            f"slate {slates[row].tolist()} of row {row} repeats a position; show each once"
        )


def _repeated(slates: Tensor, candidates: int) -> Tensor:
    """Which slates show a position twice, (B,) bool."""
    batch, slate_size = slates.shape
    if slate_size > 5:
        shown = torch.zeros((batch, candidates), dtype=torch.uint8, device=slates.device)
        return shown.scatter_(1, slates, 1).sum(dim=1) < slate_size
    # Few pairs are compared faster than anything is counted.
    slots = slates.unbind(1)
    repeated = slots[0] == slots[1]
    for later in range(2, slate_size):
        for earlier in range(later):
            repeated |= slots[earlier] == slots[later]
    return repeated
