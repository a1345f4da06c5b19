"""Whole slates as actions: their numbers, their eligibility, what items are worth by them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.core.slate_actions import (
    check_count,
    count_slates,
    eligible_slates,
    item_worths,
    slate_table,
    slates_with,
)


def test_unordered_slates_stand_there_once_and_ordered_ones_in_every_order() -> None:
    assert slate_table(3, 2, ordered=False).tolist() == [[0, 1], [0, 2], [1, 2]]
    ordered = [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert slate_table(3, 2, ordered=True).tolist() == ordered


def test_the_papers_twenty_candidates() -> None:
    assert count_slates(20, 2, ordered=False) == 190  # 20 * 19 / 2
    assert count_slates(20, 3, ordered=True) == 6840  # 20 * 19 * 18
    assert len(slate_table(20, 2, ordered=False)) == 190


def test_too_many_slates_are_refused_in_one_sentence() -> None:
    check_count(20, 2, ordered=False, limit=190)
    message = (
        r"20 candidates make 6,840 ordered slates of 3, and full-slate Q values each of at most "
        r"5,000 \(max_slates\); use slateq, which values items, or lower"
    )
    with pytest.raises(ValueError, match=message):
        check_count(20, 3, ordered=True, limit=5000)


def test_a_slate_may_be_shown_if_all_of_it_may() -> None:
    mask = tensor([[True, False, True], [True, True, True]])
    found = eligible_slates(mask, slate_table(3, 2, ordered=False))
    assert found.tolist() == [[False, True, False], [True, True, True]]


@pytest.mark.parametrize("ordered", [False, True])
def test_an_item_is_worth_the_best_slate_that_holds_it(ordered: bool) -> None:
    mask = tensor([[True, True, True], [True, False, True]])
    table, holding = slate_table(3, 2, ordered), slates_with(3, 2, ordered)
    assert holding.shape == (3, len(table) * 2 // 3)
    # Slates {0, 1}, {0, 2}, {1, 2} are worth 1, 5 and 3 in rising order, 1 less in falling order.
    worth = {(0, 1): 1.0, (0, 2): 5.0, (1, 2): 3.0, (1, 0): 0.0, (2, 0): 4.0, (2, 1): 2.0}
    values = tensor([[worth[tuple(slate)] for slate in table.tolist()]] * 2)
    values = values.masked_fill(~eligible_slates(mask, table), -math.inf)
    assert item_worths(values, mask, holding).tolist() == [[5.0, 3.0, 5.0], [5.0, 0.0, 5.0]]


def test_single_items_are_slates_of_one() -> None:
    values, mask = tensor([[4.0, 2.0]]), torch.ones(1, 2, dtype=torch.bool)
    assert item_worths(values, mask, slates_with(2, 1, ordered=False)).tolist() == [[4.0, 2.0]]
