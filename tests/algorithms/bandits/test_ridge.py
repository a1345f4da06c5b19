"""Sums that merge in any order, and the regression that they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import tensor

from algorithms.bandits.ridge import Ridge, solve
from algorithms.bandits.statistics import Statistics, arm_sums, ridge_sums, ridge_sums_by_arm


def test_arm_sums_leave_out_unknown_arms() -> None:
    sums = arm_sums(tensor([0, 2, -1, 2]), tensor([1.0, 2.0, 9.0, 4.0]), 3)
    assert sums["count"].tolist() == [1.0, 0.0, 2.0]
    assert sums["total"].tolist() == [1.0, 0.0, 6.0]


def test_ridge_sums() -> None:
    sums = ridge_sums(tensor([[1.0, 2.0], [3.0, 0.0]]), tensor([1.0, 2.0]))
    assert sums["gram"].tolist() == [[[10.0, 2.0], [2.0, 4.0]]]
    assert sums["moment"].tolist() == [[7.0, 2.0]]  # 1 * (1, 2) + 2 * (3, 0)
    assert sums["count"].tolist() == [2.0]


def test_ridge_sums_by_arm_are_those_of_each_arms_rows() -> None:
    x, feedback = torch.randn(9, 2), torch.randn(9)
    arm = tensor([0, 1, -1, 1, 0, 0, -1, 1, 0])
    by_arm = ridge_sums_by_arm(x, feedback, arm, 3)
    for number in range(3):
        alone = ridge_sums(x[arm == number], feedback[arm == number])
        for name, value in alone.items():
            torch.testing.assert_close(by_arm[name][number], value[0])


def test_the_ridge_estimate_by_hand() -> None:
    # A = [[2, 0], [0, 3]] + I = diag(3, 4); theta = (6 / 3, 4 / 4).
    theta, root = solve(
        tensor([[[2.0, 0.0], [0.0, 3.0]]]).double(), tensor([[6.0, 4.0]]).double(), 1.0
    )
    assert theta[0].tolist() == pytest.approx([2.0, 1.0])
    # |root x|^2 for x = (3, 4) is 9 / 3 + 16 / 4 = 7.
    assert float((root[0] @ tensor([3.0, 4.0]).double()).square().sum()) == pytest.approx(7.0)


def test_an_ill_conditioned_fit_still_predicts() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 3, generator=generator).double()
    # One column a million times larger than another, and one almost the sum of both.
    x = torch.stack([1e3 * x[:, 0], 1e-3 * x[:, 1], 1e3 * x[:, 0] + 1e-3 * x[:, 1]], 1)
    x[:, 2] += 1e-6 * torch.randn(5000, generator=generator).double()
    feedback = x @ tensor([0.002, 3.0, 0.001]).double()
    sums = ridge_sums(x, feedback)
    theta, root = solve(sums["gram"], sums["moment"], 1e-6)
    assert float((x @ theta[0] - feedback).abs().max()) < 1e-3
    assert bool(root.isfinite().all())


def test_what_cannot_be_solved_is_an_error() -> None:
    # Eigenvalues 3 and -1: no sum of x x^T, whatever is added to the diagonal.
    whole, broken = torch.eye(2), tensor([[1.0, 2.0], [2.0, 1.0]])
    gram = torch.stack([whole, broken, whole]).double()
    with pytest.raises(ValueError, match=r"model 1 of 3 is not positive definite.*raise ridge"):
        solve(gram, torch.zeros(3, 2).double(), 1e-3)
    # A ridge of 2 makes it 5 and 1.
    theta, _ = solve(gram, torch.ones(3, 2).double(), 2.0)
    assert theta[1].tolist() == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_any_partition_in_any_order_gives_the_same_model(parts: int) -> None:
    generator = torch.Generator().manual_seed(parts)
    x, feedback = torch.randn(700, 5, generator=generator), torch.randn(700, generator=generator)
    arm = torch.randint(-1, 4, (700,), generator=generator)

    def model(order: torch.Tensor, rounds: int) -> Ridge:
        ridge = Ridge(5, 4, ridge=1.0)
        for rows in order.chunk(rounds):
            chunks = rows.chunk(parts)
            sums = [ridge.sums(x[c], feedback[c], arm[c]) for c in chunks]
            ridge.statistics.add({k: torch.stack([s[k] for s in sums]) for k in sums[0]})
        ridge.refresh()
        return ridge

    whole = model(torch.arange(700), rounds=1)
    shuffled = model(torch.randperm(700, generator=generator), rounds=5)
    for name in ("gram", "moment", "count"):
        difference = whole.statistics[name] - shuffled.statistics[name]
        assert float(difference.abs().max()) < 1e-10
    torch.testing.assert_close(whole.theta, shuffled.theta)


def test_a_discount_leaves_less_of_each_earlier_round() -> None:
    statistics = Statistics({"total": (1,)}, discount=0.5, window=0)
    for value in (8.0, 4.0, 2.0):
        statistics.add({"total": tensor([[value]])})
    assert statistics["total"].tolist() == [2.0 + 4.0 / 2 + 8.0 / 4]


def test_a_window_keeps_the_latest_rounds() -> None:
    statistics = Statistics({"total": (1,)}, discount=1.0, window=2)
    found = []
    for value in (8.0, 4.0, 2.0, 1.0):
        statistics.add({"total": tensor([[value]])})
        found.append(float(statistics["total"]))
    assert found == [8.0, 12.0, 6.0, 3.0]


@pytest.mark.parametrize(("discount", "window"), [(0.9, 0), (1.0, 2)])
def test_workers_of_one_round_count_alike_whatever_their_order(discount, window) -> None:
    def total(order: list[float]) -> float:
        statistics = Statistics({"total": (1,)}, discount, window)
        for part in (order, [1.0], [0.5]):
            statistics.add({"total": tensor(part)[:, None]})
        return float(statistics["total"])

    assert total([3.0, 5.0, 7.0]) == pytest.approx(total([7.0, 3.0, 5.0]), abs=1e-12)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_nothing_changes(wrong: float) -> None:
    statistics = Statistics({"total": (2,), "count": (2,)}, 0.9, 0)
    fine = tensor([[1.0, 2.0]])
    statistics.add({"total": fine, "count": fine})
    with pytest.raises(ValueError, match="'count' holds a number that is not finite"):
        statistics.add({"total": fine, "count": tensor([[1.0, wrong]])})
    assert statistics["total"].tolist() == [1.0, 2.0]
    assert int(statistics.rounds) == 1


def test_columns_of_another_model_are_refused() -> None:
    ridge = Ridge(3, None, ridge=1.0)
    with pytest.raises(ValueError, match=r"have 2 context columns, but this model takes 3"):
        ridge.sums(torch.ones(4, 2), torch.ones(4), None)
    with pytest.raises(ValueError, match=r"'gram' has shape \(1, 2, 2\), but this model's is"):
        ridge.statistics.add(
            {k: v[None] for k, v in ridge_sums(torch.ones(4, 2), torch.ones(4)).items()}
        )


def test_draws_have_the_posteriors_mean_and_spread() -> None:
    ridge = Ridge(2, None, ridge=1.0, draws=20_000)
    x = tensor([[1.0, 1.0], [0.0, 2.0]])
    sums = ridge.sums(x, tensor([2.0, 1.0]), None)
    ridge.statistics.add({name: value[None] for name, value in sums.items()})
    ridge.refresh()
    ridge.draw(0.5, np.random.default_rng(0))
    # A = [[2, 1], [1, 6]], so A^-1 = [[6, -1], [-1, 2]] / 11, times 0.5^2.
    expected = tensor([[6.0, -1.0], [-1.0, 2.0]]) / 44
    torch.testing.assert_close(ridge.draws[0].T.cov(), expected, atol=3e-3, rtol=0)
    torch.testing.assert_close(ridge.draws[0].mean(0), ridge.theta[0], atol=8e-3, rtol=0)
