from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor

from algorithms.core.optimise import (
    cascade_value,
    check_method,
    exact_cascade,
    exact_multinomial,
    greedy,
    multinomial_value,
    optimise,
    slate_value,
    top_k,
)

FOUR = torch.ones((1, 4), dtype=torch.bool)


def test_multinomial_value_by_hand() -> None:
    value, mass = tensor([[4.0, 1.0, -2.0]]), tensor([[1.0, 2.0, 3.0]])
    # (1 * 4 + 3 * -2) / (1 + 3 + 2)
    assert multinomial_value(value, mass, 2.0, tensor([[0, 2]])).tolist() == pytest.approx([-1 / 3])
    # The same with the mass of no click a row: (1 * 4 + 2 * 1) / (1 + 2 + 1)
    assert multinomial_value(value, mass, tensor([1.0]), tensor([[0, 1]])).tolist() == [1.5]


def test_cascade_value_by_hand() -> None:
    value, stop = tensor([[10.0, 4.0, 8.0]]), tensor([[0.5, 0.25, 1.0]])
    # 0.25 * 4, then 0.75 * 0.5 * 10, then 0.75 * 0.5 * 1 * 8
    assert cascade_value(value, stop, tensor([[1, 0, 2]])).tolist() == [1 + 3.75 + 3]


def test_where_the_optimisers_differ() -> None:
    # An attractive mediocre item (v 10, A 1) drives out better ones.
    value, mass = tensor([[1.0, 3.0, 2.0, 0.0]]), tensor([[10.0, 1.0, 1.0, 0.1]])
    slates, worth = top_k(value, mass, 2.0, FOUR, 2)
    # v A: 10, 3, 2, 0; worth (10 + 3) / (11 + 2)
    assert slates.tolist() == [[0, 1]] and worth.tolist() == [1.0]
    # First slot: 10/12, 3/3, 2/3, 0: item 1. Then 13/13, 5/4, 3/3.1: item 2.
    slates, worth = greedy(value, mass, 2.0, FOUR, 2)
    assert slates.tolist() == [[1, 2]] and worth.tolist() == [1.25]
    slates, worth = exact_multinomial(value, mass, 2.0, FOUR, 2)
    assert slates.tolist() == [[1, 2]] and worth.tolist() == [1.25]


def test_greedy_may_miss_the_optimum() -> None:
    # Alone item 0 is worth 40/21 = 1.90 and the others 4.5/2.5 = 1.80 each;
    # together the others are worth 9/4, and item 0 with one of them 44.5/22.5.
    value, mass = tensor([[2.0, 3.0, 3.0]]), tensor([[20.0, 1.5, 1.5]])
    mask = torch.ones((1, 3), dtype=torch.bool)
    slates, worth = greedy(value, mass, 1.0, mask, 2)
    assert slates.tolist() == [[0, 1]] and worth.tolist() == pytest.approx([44.5 / 22.5])
    slates, worth = exact_multinomial(value, mass, 1.0, mask, 2)
    assert slates.tolist() == [[1, 2]] and worth.tolist() == [2.25]


def test_a_slate_is_filled_even_with_losses() -> None:
    value, mass = tensor([[-1.0, -3.0, -2.0, -9.0]]), torch.ones(1, 4)
    slates, worth = exact_multinomial(value, mass, 1.0, FOUR, 2)
    assert slates.tolist() == [[0, 2]] and worth.tolist() == [-1.0]  # (-1 - 2) / (2 + 1)


def test_values_with_no_click_worth_nothing_follow_the_paper() -> None:
    # Whole values 100 and 99: the attractive item wins; as advantages over 98, the better one.
    values, mass = tensor([[100.0, 99.0]]), tensor([[1.0, 1.5]])
    mask = torch.ones((1, 2), dtype=torch.bool)
    assert top_k(values, mass, 2.0, mask, 1)[0].tolist() == [[1]]
    assert top_k(values - 98, mass, 2.0, mask, 1)[0].tolist() == [[0]]


def test_ties_go_by_position() -> None:
    flat = torch.ones(1, 4)
    mask = tensor([[True, False, True, True]])
    for method in ("top_k", "greedy", "exact"):
        slates, _ = optimise(method, "multinomial_logit", flat, flat, 1.0, mask, 3)
        assert slates.tolist() == [[0, 2, 3]]
    slates, _ = exact_cascade(flat, flat * 0.5, mask, 3)
    assert slates.tolist() == [[0, 2, 3]]


def test_a_cascade_shows_few_sure_items_by_value_not_by_product() -> None:
    # Item 1 (a 1, A 2) would catch everyone; below items of A 3 it takes the rest.
    value, stop = tensor([[3.0, 2.0, 3.5]]), tensor([[0.2, 1.0, 0.1]])
    slates, worth = exact_cascade(value, stop, torch.ones((1, 3), dtype=torch.bool), 2)
    # 0 then 1: 0.6 + 0.8 * 2 = 2.2; 2 then 1: 0.35 + 0.9 * 2 = 2.15; 2 then 0: 0.35 + 0.54.
    assert slates.tolist() == [[0, 1]] and worth.tolist() == pytest.approx([2.2])


def _best(model: str, value: Tensor, mass: Tensor, no_click: Tensor, mask: Tensor, k: int) -> float:
    return max(
        float(slate_value(model, value, mass, no_click, tensor([slate])))
        for slate in itertools.permutations(mask[0].nonzero().squeeze(1).tolist(), k)
    )


NUMBER = st.floats(-50, 50).map(lambda number: round(number, 1))


@settings(max_examples=80, deadline=None)
@given(st.data())
@pytest.mark.parametrize("model", ["multinomial_proportional", "proportional_cascade"])
def test_exact_is_the_best_of_all_slates(model: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 5))
    k = data.draw(st.integers(1, min(n, 3)))
    mask = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    mask = tensor([[True] * k + mask[k:]])
    value = tensor([data.draw(st.lists(NUMBER, min_size=n, max_size=n))], dtype=torch.float64)
    unit = st.integers(0, 10).map(lambda tenths: tenths / 10)
    mass = tensor([data.draw(st.lists(unit, min_size=n, max_size=n))], dtype=torch.float64)
    no_click = tensor([data.draw(unit)], dtype=torch.float64)
    slates, worth = optimise("exact", model, value, mass, no_click, mask, k)
    assert len(set(slates.tolist()[0])) == k and bool(mask.gather(1, slates).all())
    assert float(worth) == pytest.approx(_best(model, value, mass, no_click, mask, k), abs=1e-9)
    assert float(slate_value(model, value, mass, no_click, slates)) == pytest.approx(
        float(worth), abs=1e-9
    )


@pytest.mark.parametrize("method", ["top_k", "greedy", "exact"])
def test_a_batch_equals_its_rows_and_states_its_worth(method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn((64, 12), generator=generator)
    mass = torch.rand((64, 12), generator=generator)
    no_click = torch.rand(64, generator=generator)
    mask = torch.rand((64, 12), generator=generator) < 0.7
    mask[:, :4] = True
    model = "multinomial_logit"
    slates, worth = optimise(method, model, value, mass, no_click, mask, 4)
    assert torch.allclose(worth, slate_value(model, value, mass, no_click, slates), atol=1e-6)
    for row in range(0, 64, 9):
        at = slice(row, row + 1)
        alone = optimise(method, model, value[at], mass[at], no_click[at], mask[at], 4)
        assert torch.equal(alone[0], slates[at])


def test_exact_is_never_below_the_others() -> None:
    generator = torch.Generator().manual_seed(1)
    value = torch.randn((500, 20), generator=generator)
    mass = torch.rand((500, 20), generator=generator)
    mask = torch.ones((500, 20), dtype=torch.bool)
    best = exact_multinomial(value, mass, 0.5, mask, 3)[1]
    for other in (top_k, greedy):
        worth = other(value, mass, 0.5, mask, 3)[1]
        assert bool((best >= worth - 1e-6).all()) and bool((best > worth + 1e-3).any())


def test_slates_that_nobody_can_choose_from_are_worth_no_click() -> None:
    zero = torch.zeros(1, 4)
    for method in ("top_k", "greedy", "exact"):
        _, worth = optimise(method, "multinomial_logit", zero + 5, zero, 0.0, FOUR, 2)
        assert worth.tolist() == [0.0]


@pytest.mark.parametrize("method", ["top_k", "greedy"])
def test_cascades_refuse_what_is_not_defined_for_them(method: str) -> None:
    with pytest.raises(ValueError, match="use 'exact'"):
        check_method(method, "exponential_cascade")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown slate optimiser 'best'"):
        check_method("best", "multinomial_logit")
    with pytest.raises(ValueError, match="unknown choice model 'logit'"):
        check_method("exact", "logit")


def test_slate_value_carries_a_gradient() -> None:
    value = tensor([[4.0, 1.0, 9.0]], requires_grad=True)
    mass = tensor([[1.0, 2.0, 3.0]])
    slate_value("multinomial_logit", value, mass, 1.0, tensor([[0, 1]])).sum().backward()  # type: ignore[no-untyped-call]
    # v_i / (1 + 2 + 1) for the shown items.
    assert value.grad is not None and value.grad.tolist() == [[0.25, 0.5, 0.0]]
