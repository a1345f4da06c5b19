"""Where a simulator's luck comes from.

`AddressedNoise` computes every draw from its address (seed, user, step,
purpose, position) with an integer hash, so the same users meet the same luck
whatever the batch size, the number of workers or the policy: common random
numbers for every comparison. `StreamNoise` draws from one generator, which is
faster and good enough for training.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _signed(x: int) -> int:
    """The value of x's lowest 64 bits as a signed integer."""
    return (x + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed 64-bit integers."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """The 64-bit finaliser of SplitMix64 on signed integers, elementwise.

    Source: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number
    generators", variant 13 of Stafford's mixers.
    """
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


class Draws(abc.ABC):
    """The luck of B users at one step each."""

    @abc.abstractmethod
    def uniform(self, purpose: int, positions: int | Tensor) -> Tensor:
        """Uniform numbers in [0, 1).

        Args:
            purpose: what the draw decides; different purposes are independent.
            positions: how many draws a user gets, numbered from 0, or their
                numbers, (B, W).

        Returns:
            (B, W).
        """

    @abc.abstractmethod
    def normal(self, purpose: int, positions: int | Tensor) -> Tensor:
        """Standard normal numbers; arguments and shape as in `uniform`."""


class Noise(abc.ABC):
    """A source of draws for a simulator."""

    @abc.abstractmethod
    def at(self, users: Tensor, steps: Tensor) -> Draws:
        """The luck of users (B,) at steps (B,), both int64."""

    def get_state(self) -> Tensor | None:
        """What must be kept to continue, `None` where nothing is."""
        return None

    def set_state(self, state: Tensor | None) -> None:  # noqa: B027 (most noise keeps nothing)
        """Continue from `get_state`."""


class AddressedNoise(Noise):
    """Draws that depend on their address and nothing else."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        """Noise of one seed, returning numbers of `dtype`."""
        self._dtype = dtype
        self._seed = mix(torch.tensor(_signed(seed * 2 + 1), dtype=torch.int64) * _GOLDEN)

    def at(self, users: Tensor, steps: Tensor) -> Draws:
        """The luck of users (B,) at steps (B,), both int64."""
        key = mix(self._seed.to(users.device) ^ (users * _GOLDEN))
        return _AddressedDraws(mix(key + steps * _MIX_2), self._dtype)


class _AddressedDraws(Draws):
    def __init__(self, key: Tensor, dtype: torch.dtype) -> None:
        self._key, self._dtype = key, dtype

    def _bits(self, purpose: int, positions: int | Tensor, bits: int) -> Tensor:
        if isinstance(positions, int):
            positions = torch.arange(positions, device=self._key.device).expand(
                len(self._key), positions
            )
        address = positions * _GOLDEN + _signed((purpose + 1) * _MIX_1)
        return _shift_right(mix(self._key[:, None] ^ mix(address)), 64 - bits)

    def uniform(self, purpose: int, positions: int | Tensor) -> Tensor:
        bits = 53 if self._dtype == torch.float64 else 24
        return self._bits(purpose, positions, bits).to(self._dtype) * 2.0**-bits

    def normal(self, purpose: int, positions: int | Tensor) -> Tensor:
        # Half a unit keeps the inverse distribution function finite at 0; 23
        # bits, so that adding the half is exact in float32.
        bits = 52 if self._dtype == torch.float64 else 23
        whole = self._bits(purpose, positions, bits).to(self._dtype)
        normal: Tensor = torch.special.ndtri((whole + 0.5) * 2.0**-bits)
        return normal


class StreamNoise(Noise):
    """Draws from one generator, in the order in which they are asked for."""

    def __init__(
        self, seed: int, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> None:
        """A generator of its own, seeded with `seed`."""
        self._generator = torch.Generator(device).manual_seed(seed)
        self._dtype = dtype

    def at(self, users: Tensor, steps: Tensor) -> Draws:
        """Draws for len(users) users; their addresses don't matter."""
        return _StreamDraws(self._generator, len(users), self._dtype)

    def get_state(self) -> Tensor:
        """The generator's state."""
        return self._generator.get_state()

    def set_state(self, state: Tensor | None) -> None:
        """Continue from `get_state`."""
        if state is None:
            raise ValueError("this state was saved from addressed noise, not from a stream")
        self._generator.set_state(state)


class _StreamDraws(Draws):
    def __init__(self, generator: torch.Generator, batch: int, dtype: torch.dtype) -> None:
        self._generator, self._batch, self._dtype = generator, batch, dtype

    def _shape(self, positions: int | Tensor) -> tuple[int, int]:
        width = positions if isinstance(positions, int) else positions.shape[1]
        return self._batch, width

    def uniform(self, purpose: int, positions: int | Tensor) -> Tensor:
        g = self._generator
        return torch.rand(self._shape(positions), generator=g, dtype=self._dtype, device=g.device)

    def normal(self, purpose: int, positions: int | Tensor) -> Tensor:
        g = self._generator
        return torch.randn(self._shape(positions), generator=g, dtype=self._dtype, device=g.device)
