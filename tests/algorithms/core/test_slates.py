from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, tensor

from algorithms.core.slate_moments import enumerate_slates
from algorithms.core.slates import SlateDistribution, epsilon_greedy, plackett_luce, uniform

ALL = torch.ones((1, 3), dtype=torch.bool)
# exp() of these is 1, 2, 3: softmax probabilities 1/6, 2/6, 3/6.
WEIGHTS = tensor([[1.0, 2.0, 3.0]], dtype=torch.float64).log()


def _case(epsilon: float, temperature: float, greedy: bool, pinned: bool) -> SlateDistribution:
    """Three users, five candidates, three slots; user 0 may not see candidate 4."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones((3, 5), dtype=torch.bool)
    mask[0, 4] = False
    return SlateDistribution(
        torch.randn((3, 5), generator=generator, dtype=torch.float64),
        mask,
        3,
        epsilon,
        temperature,
        tensor([[2, 0, 3], [1, 4, 0], [0, 1, 2]]) if greedy else None,
        tensor([[-1, 2, -1], [-1, -1, -1], [0, -1, 3]]) if pinned else None,
    )


CASES = [
    pytest.param(*case, id=f"epsilon {case[0]}, temperature {case[1]}, greedy {case[2]}, {case[3]}")
    for case in itertools.product((0.0, 0.3, 1.0), (0.0, 0.7), (False, True), (False, True))
]


def test_large_values_at_a_small_temperature_keep_their_digits() -> None:
    values = tensor([[160.0, 160.0005, 159.0]])
    distribution = SlateDistribution(values, torch.ones(1, 3, dtype=torch.bool), 1, 0.0, 5e-4, None)
    stated = distribution.slot_log_prob(tensor([[1]])).exp()
    # The two best differ by a temperature (float32 holds 160.0005 to 1.5e-5): 1 / (1 + 1/e).
    assert float(stated) == pytest.approx(0.7311, abs=0.01)
    total = sum(float(distribution.log_prob(tensor([[item]])).exp()) for item in range(3))
    assert total == pytest.approx(1.0, abs=1e-6)


def test_plackett_luce_by_hand() -> None:
    distribution = plackett_luce(WEIGHTS, ALL, 2)
    slots = distribution.slot_log_prob(tensor([[2, 0]])).exp()
    # 3/6, then 1 of the remaining 1 + 2.
    assert torch.allclose(slots, tensor([[1 / 2, 1 / 3]], dtype=torch.float64))
    # Candidate 0 second: after 1 it is 1/4, after 2 it is 1/3.
    second = 2 / 6 * 1 / 4 + 3 / 6 * 1 / 3
    assert float(distribution.marginals()[0, 1, 0]) == pytest.approx(second)
    assert float(distribution.inclusion()[0, 0]) == pytest.approx(1 / 6 + second)
    assert distribution.mode().tolist() == [[2, 1]]


def test_the_temperature_divides_log_weights() -> None:
    slots = plackett_luce(WEIGHTS, ALL, 1, temperature=0.5).marginals()
    # Weights to the power of 2: 1, 4, 9 of 14.
    assert torch.allclose(slots, tensor([[[1 / 14, 4 / 14, 9 / 14]]], dtype=torch.float64))


def test_epsilon_greedy_by_hand() -> None:
    distribution = epsilon_greedy(tensor([[2, 0]]), ALL, epsilon=0.3)

    def slots(first: int, second: int) -> list[float]:
        found: list[float] = distribution.slot_log_prob(tensor([[first, second]])).exp().tolist()[0]
        return found

    # The optimiser's item: 0.7 + 0.3 / 3, then 0.7 + 0.3 / 2.
    assert slots(2, 0) == pytest.approx([0.8, 0.85])
    # After exploring 1, the next item of the optimiser's slate is still 2.
    assert slots(1, 2) == pytest.approx([0.1, 0.85])
    assert slots(1, 0) == pytest.approx([0.1, 0.15])
    # After exploring 0 out of order, the next one is 2.
    assert slots(0, 2) == pytest.approx([0.1, 0.85])


def test_epsilon_mixes_with_the_softmax() -> None:
    slots = plackett_luce(WEIGHTS, ALL, 2, epsilon=0.4).slot_log_prob(tensor([[0, 1]])).exp()
    # 0.6 * 1/6 + 0.4 / 3, then 0.6 * 2/5 + 0.4 / 2.
    expected = tensor([[0.1 + 0.4 / 3, 0.24 + 0.2]], dtype=torch.float64)
    assert torch.allclose(slots, expected)


def test_temperature_zero_without_an_optimiser_breaks_ties_by_position() -> None:
    tied = tensor([[1.0, 5.0, 1.0, 1.0]])
    mask = tensor([[True, True, False, True]])
    distribution = SlateDistribution(tied, mask, 3, temperature=0.0)
    assert distribution.sample()[0].tolist() == [[1, 0, 3]]


def test_the_greedy_slate_is_certain() -> None:
    slates = tensor([[2, 1], [0, 2]])
    shown, log_probs = epsilon_greedy(slates, ALL.expand(2, -1)).sample()
    assert torch.equal(shown, slates) and log_probs.tolist() == [[0.0, 0.0]] * 2


def test_log_weights_of_epsilon_greedy_state_it_without_the_optimiser() -> None:
    first = epsilon_greedy(tensor([[2, 0]]), ALL, epsilon=0.3)
    again = SlateDistribution(first.log_weights, ALL, 2, 0.3, 0.0)
    assert torch.equal(first.marginals(), again.marginals())


def test_pinned_slots_are_certain_and_their_items_taken() -> None:
    pinned = tensor([[-1, 2, -1]])
    mask = torch.ones((1, 4), dtype=torch.bool)
    greedy = tensor([[2, 3, 0]])
    distribution = SlateDistribution(torch.zeros(1, 4), mask, 3, 0.3, 0.0, greedy, pinned)
    assert distribution.mode().tolist() == [[3, 2, 0]]
    slots = distribution.slot_log_prob(tensor([[3, 2, 1]])).exp()
    # Three free candidates at slot 0, two at slot 2: 0.7 + 0.3 / 3, 1, 0.3 / 2.
    assert slots.tolist()[0] == pytest.approx([0.8, 1.0, 0.15])
    assert float(distribution.log_prob(tensor([[2, 3, 1]]))) == -math.inf


@pytest.mark.parametrize("slate", [[1, 1], [0, 1], [2, 2]])
def test_impossible_slates_have_no_probability(slate: list[int]) -> None:
    mask = tensor([[False, True, True]])
    for epsilon, temperature in ((0.2, 0.0), (0.2, 1.0), (1.0, 1.0), (0.0, 1.0)):
        distribution = SlateDistribution(WEIGHTS, mask, 2, epsilon, temperature)
        assert float(distribution.log_prob(tensor([slate]))) == -math.inf


def test_a_repeated_item_leaves_earlier_slots_right() -> None:
    slots = plackett_luce(WEIGHTS, ALL, 2).slot_log_prob(tensor([[2, 2]])).exp()
    assert torch.allclose(slots, tensor([[0.5, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(("epsilon", "temperature", "greedy", "pinned"), CASES)
def test_moments_agree_with_enumeration(
    epsilon: float, temperature: float, greedy: bool, pinned: bool
) -> None:
    distribution = _case(epsilon, temperature, greedy, pinned)
    slates = tensor(list(itertools.permutations(range(5), 3)))
    log_probs = torch.stack([distribution.log_prob(slate.expand(3, -1)) for slate in slates], dim=1)
    probs = log_probs.exp()
    assert torch.allclose(probs.sum(1), torch.ones(3, dtype=torch.float64))
    one_hot = torch.nn.functional.one_hot(slates, 5).double()  # (S, K, N)
    assert torch.allclose(distribution.marginals(), torch.einsum("bs,skn->bkn", probs, one_hot))
    pairs = torch.einsum("bs,skn,slm->bknlm", probs, one_hot, one_hot)
    assert torch.allclose(distribution.pairwise(), pairs)
    assert torch.allclose(distribution.entropy(), torch.special.entr(probs).sum(1))
    found, stated = enumerate_slates(distribution)
    assert torch.equal(found, slates) and torch.allclose(stated.exp(), probs)


@pytest.mark.parametrize(("epsilon", "temperature", "greedy", "pinned"), CASES)
def test_sampling_frequencies_match_the_stated_propensity(
    epsilon: float, temperature: float, greedy: bool, pinned: bool
) -> None:
    count = 8_000
    small = _case(epsilon, temperature, greedy, pinned)

    def repeated(field: Tensor | None) -> Tensor | None:
        return None if field is None else field.repeat_interleave(count, 0)

    distribution = SlateDistribution(
        small.log_weights.repeat_interleave(count, 0),
        small.mask.repeat_interleave(count, 0),
        3,
        epsilon,
        temperature,
        repeated(small.greedy),
        repeated(small.pinned),
    )
    slates, log_probs = distribution.sample(torch.Generator().manual_seed(0))
    assert torch.allclose(log_probs, distribution.slot_log_prob(slates))
    numbers = (slates * tensor([25, 5, 1])).sum(1).reshape(3, count)
    possible, stated = enumerate_slates(small)
    codes = (possible * tensor([25, 5, 1])).sum(1)
    for row in range(3):
        expected = stated[row].exp() * count
        seen = torch.bincount(numbers[row], minlength=125)[codes]
        assert int(seen[expected == 0].sum()) == 0
        common = expected > 10  # where four sigma of a binomial mean what they say
        sigma = (expected * (1 - expected / count)).clamp_min(1e-6).sqrt()
        assert float(((seen - expected).abs() / sigma)[common].max()) < 4.5


@pytest.mark.parametrize(("epsilon", "temperature"), [(0.0, 0.7), (0.3, 0.7), (0.3, 0.0)])
def test_estimates_agree_with_the_exact_moments(epsilon: float, temperature: float) -> None:
    distribution = _case(epsilon, temperature, greedy=True, pinned=False)
    generator = torch.Generator().manual_seed(1)
    marginals = distribution.estimate_marginals(4_000, generator)
    # A mean of 4,000 numbers in [0, 1]: sigma below 0.5 / sqrt(4000) = 0.008.
    assert float((marginals - distribution.marginals()).abs().max()) < 0.03
    assert torch.allclose(marginals.sum(2), torch.ones(3, 3, dtype=torch.float64))
    entropy = distribution.estimate_entropy(4_000, generator)
    assert float((entropy - distribution.entropy()).abs().max()) < 0.05


def test_closed_forms_need_no_enumeration() -> None:
    mask = torch.ones((2, 100), dtype=torch.bool)
    everything = uniform(mask, 10)
    # log(100 * 99 * ... * 91)
    expected = math.lgamma(101) - math.lgamma(91)
    assert everything.entropy().tolist() == pytest.approx([expected] * 2, rel=1e-5)
    assert torch.allclose(everything.marginals(), torch.full((2, 10, 100), 0.01))
    slates = torch.arange(10).expand(2, -1)
    assert epsilon_greedy(slates, mask).entropy().tolist() == [0.0, 0.0]
    # 0.55 for the optimiser's item and 0.45 for the other.
    two = epsilon_greedy(tensor([[0]]), torch.ones((1, 2), dtype=torch.bool), 0.9).entropy()
    assert float(two) == pytest.approx(-0.55 * math.log(0.55) - 0.45 * math.log(0.45))


def test_too_many_slates_are_refused_with_the_way_out() -> None:
    distribution = plackett_luce(torch.zeros(1, 100), torch.ones((1, 100), dtype=torch.bool), 10)
    with pytest.raises(ValueError, match=r"use estimate_entropy\(samples, generator\)"):
        distribution.entropy()
    with pytest.raises(ValueError, match=r"use estimate_marginals\(samples, generator\)"):
        distribution.marginals()
    with pytest.raises(ValueError, match="use estimate_marginals"):
        distribution.pairwise()


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@pytest.mark.parametrize("pinned", [False, True])
def test_gradients_are_right_also_where_nothing_remains(epsilon: float, pinned: bool) -> None:
    weights = WEIGHTS.clone().requires_grad_()
    pins = tensor([[-1, 1, -1]]) if pinned else None

    def both(values: Tensor) -> tuple[Tensor, Tensor]:
        distribution = SlateDistribution(values, ALL, 3, epsilon, 1.0, None, pins)
        return distribution.log_prob(tensor([[2, 1, 0]])), distribution.entropy()

    assert torch.autograd.gradcheck(both, (weights,))


def test_the_policy_gradient_by_hand() -> None:
    weights = WEIGHTS.clone().requires_grad_()
    plackett_luce(weights, ALL, 1).log_prob(tensor([[2]])).sum().backward()  # type: ignore[no-untyped-call]
    # One-hot minus probabilities: 0 - 1/6, 0 - 2/6, 1 - 3/6.
    assert weights.grad is not None
    assert weights.grad.tolist()[0] == pytest.approx([-1 / 6, -1 / 3, 1 / 2])


def test_log_weights_of_ineligible_candidates_are_not_read() -> None:
    odd = tensor([[0.0, math.nan, 0.0, -math.inf]])
    distribution = plackett_luce(odd, tensor([[True, False, True, False]]), 2, epsilon=0.5)
    slates, log_probs = distribution.sample(torch.Generator().manual_seed(0))
    assert sorted(slates.tolist()[0]) == [0, 2]
    assert log_probs.exp().tolist()[0] == pytest.approx([0.5, 1.0])
    assert torch.isfinite(distribution.entropy()).all()


def test_the_generator_decides_the_sample() -> None:
    distribution = plackett_luce(torch.zeros(50, 6), torch.ones((50, 6), dtype=torch.bool), 3)
    first, second, other = (
        distribution.sample(torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 1.5}, "epsilon is 1.5"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"slate_size": 0}, "slate_size is 0"),
        ({"mask": tensor([[True, False, False]])}, "row 0 has 1 eligible candidates for 2 slots"),
        ({"log_weights": torch.zeros(1, 4)}, r"log_weights has shape \(1, 4\)"),
        ({"greedy": tensor([[0, 1, 2]])}, r"greedy has shape \(1, 3\)"),
        ({"pinned": tensor([[0, 0]])}, "twice"),
        ({"pinned": tensor([[-1, 7]])}, "row 0 pins position 7, which is not eligible"),
        ({"pinned": tensor([[-2, -1]])}, "row 0 pins position -2, which is not eligible"),
    ],
)
def test_impossible_distributions_are_refused(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"log_weights": WEIGHTS, "mask": ALL, "slate_size": 2}
    with pytest.raises(ValueError, match=message):
        SlateDistribution(**{**fields, **change})  # type: ignore[arg-type]


def test_the_first_row_with_impossible_pins_is_named() -> None:
    mask = torch.ones((4, 3), dtype=torch.bool)
    mask[2, 1] = False
    pins = tensor([[-1, -1], [2, 0], [2, 1], [1, 1]])
    with pytest.raises(ValueError, match="row 2 pins position 1, which is not eligible"):
        SlateDistribution(torch.zeros(4, 3), mask, 2, pinned=pins)
    mask[2, 1] = True
    with pytest.raises(ValueError, match=r"row 3 pins \[1, 1\], one position twice"):
        SlateDistribution(torch.zeros(4, 3), mask, 2, pinned=pins)
    assert SlateDistribution(torch.zeros(3, 3), mask[:3], 2, pinned=pins[:3]).free.sum() == 5


def test_slates_of_the_wrong_shape_or_range_are_refused() -> None:
    distribution = uniform(ALL, 2)
    with pytest.raises(ValueError, match="slates has shape"):
        distribution.log_prob(tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="outside 0 to 2"):
        distribution.log_prob(tensor([[0, 3]]))
