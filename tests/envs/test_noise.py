"""Draws: addressed ones depend on nothing but their address, and look random."""

import pytest
import torch
from torch import Tensor

from envs.noise import AddressedNoise, StreamNoise, mix


def _many(
    seed: int = 0, purpose: int = 1, width: int = 8, dtype: torch.dtype = torch.float32
) -> Tensor:
    users = torch.arange(5000)
    return AddressedNoise(seed, dtype).at(users, torch.zeros_like(users)).uniform(purpose, width)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_mix_is_splitmix64() -> None:
    # The first outputs of SplitMix64 seeded with 0, as published with its C
    # code: state 0x9E3779B97F4A7C15 gives 0xE220A8397B1DCDAF, its double
    # 0x6E789E6AA1B965F4.
    golden = 0x9E3779B97F4A7C15
    states = [golden, 2 * golden % 2**64]
    signed = torch.tensor([s - 2**64 if s >= 2**63 else s for s in states])
    expected = [0xE220A8397B1DCDAF - 2**64, 0x6E789E6AA1B965F4]
    assert mix(signed).tolist() == expected


def test_addresses_ignore_batch_and_order() -> None:
    noise = AddressedNoise(7)
    users, steps = torch.tensor([5, 3, 9]), torch.tensor([0, 4, 2])
    batch = noise.at(users, steps)
    for row in (2, 0, 1):
        alone = noise.at(users[row : row + 1], steps[row : row + 1])
        assert torch.equal(alone.uniform(2, 4)[0], batch.uniform(2, 4)[row])
        assert torch.equal(alone.normal(3, 4)[0], batch.normal(3, 4)[row])


def test_positions_are_addresses_too() -> None:
    draws = AddressedNoise(7).at(torch.tensor([5]), torch.tensor([1]))
    all_positions = draws.uniform(2, 6)[0]
    assert torch.equal(draws.uniform(2, torch.tensor([[4, 1]]))[0], all_positions[[4, 1]])


def test_uniform_numbers_are_uniform() -> None:
    drawn = _many()
    assert float(drawn.min()) >= 0 and float(drawn.max()) < 1
    counts = torch.histc(drawn, bins=10, min=0, max=1)
    # 40,000 draws: 4,000 a bin, standard deviation 60.
    assert float((counts - 4000).abs().max()) < 5 * 60


def test_normal_numbers_are_normal() -> None:
    users = torch.arange(40000)
    drawn = AddressedNoise(1).at(users, users * 0).normal(1, 1)
    assert torch.isfinite(drawn).all()
    assert abs(float(drawn.mean())) < 5 / 200
    assert abs(float(drawn.std()) - 1) < 5 / 283
    assert abs(float((drawn.abs() < 1).float().mean()) - 0.6827) < 5 * 0.0023


def test_seeds_users_steps_and_purposes_are_independent() -> None:
    noise, users = AddressedNoise(0), torch.arange(5000)
    first = noise.at(users, users * 0).uniform(1, 8)
    limit = 5 / 200  # five standard errors of a correlation over 40,000 pairs
    assert abs(_correlation(first, _many(seed=1))) < limit
    assert abs(_correlation(first, _many(purpose=2))) < limit
    assert abs(_correlation(first, noise.at(users, users * 0 + 1).uniform(1, 8))) < limit
    assert abs(_correlation(first[1:], first[:-1])) < limit
    assert abs(_correlation(first[:, 1:], first[:, :-1])) < limit


def test_the_largest_float32_is_below_one() -> None:
    # 24 bits, all ones: (2^24 - 1) / 2^24 is a float32 and less than 1.
    assert (torch.tensor(2**24 - 1).float() * 2.0**-24).item() == 1 - 2.0**-24
    users = torch.arange(400_000)
    assert float(AddressedNoise(3).at(users, users * 0).uniform(1, 5).max()) < 1


def test_float64_has_more_bits() -> None:
    drawn = _many(dtype=torch.float64)
    assert drawn.dtype == torch.float64
    assert not torch.equal(drawn.float().double(), drawn)


def test_a_stream_continues_from_its_state() -> None:
    noise, users = StreamNoise(0), torch.arange(4)
    noise.at(users, users).uniform(0, 3)
    state = noise.get_state()
    first = noise.at(users, users).normal(1, 3)
    noise.set_state(state)
    assert torch.equal(noise.at(users, users).normal(1, 3), first)
    with pytest.raises(ValueError, match="addressed noise"):
        noise.set_state(None)
