from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from algorithms.core.returns import TRACES, lambda_returns, n_step_returns, one_step_targets


def _column(*numbers: float) -> Tensor:
    return tensor(numbers, dtype=torch.float64)[:, None]


def _flags(*numbers: int) -> Tensor:
    return tensor(numbers, dtype=torch.bool)[:, None]


NONE = _flags(0, 0, 0)
REWARD = _column(1.0, 2.0, 3.0)
VALUE_NEXT = _column(10.0, 20.0, 30.0)
CHOSEN = _column(math.nan, 8.0, 16.0)  # row 0 is never read


def _returns(
    terminated: Tensor = NONE, truncated: Tensor = NONE, lam: float = 0.5, **options: Any
) -> list[float]:
    targets = lambda_returns(REWARD, terminated, truncated, VALUE_NEXT, CHOSEN, lam=lam, **options)
    found: list[float] = targets[:, 0].tolist()
    return found


def test_the_edge_of_a_fragment_bootstraps() -> None:
    # G2 = 3 + 30; G1 = 2 + 20 + .5 (33 - 16); G0 = 1 + 10 + .5 (30.5 - 8)
    assert _returns() == [22.25, 30.5, 33.0]


def test_the_discount_applies_a_step() -> None:
    # G2 = 3 + .5 * 30; G1 = 2 + .5 (20 + .5 (18 - 16)); G0 = 1 + .5 (10 + .5 (12.5 - 8))
    assert _returns(discount=0.5) == [7.125, 12.5, 18.0]


def test_a_termination_ends_the_return() -> None:
    # G1 = 2; G0 = 1 + 10 + .5 (2 - 8)
    assert _returns(terminated=_flags(0, 1, 0)) == [8.0, 2.0, 33.0]


def test_a_truncation_bootstraps_from_the_final_observation_and_cuts() -> None:
    # G1 = 2 + 20, whatever the next session brings; G0 = 1 + 10 + .5 (22 - 8)
    assert _returns(truncated=_flags(0, 1, 0)) == [18.0, 22.0, 33.0]


def test_termination_wins_over_truncation() -> None:
    both = _returns(terminated=_flags(0, 1, 0), truncated=_flags(0, 1, 0))
    assert both == [8.0, 2.0, 33.0]


def test_a_termination_at_the_edge() -> None:
    # G2 = 3; G1 = 2 + 20 + .5 (3 - 16); G0 = 1 + 10 + .5 (15.5 - 8)
    assert _returns(terminated=_flags(0, 0, 1)) == [14.75, 15.5, 3.0]


def test_lambda_zero_is_one_step() -> None:
    assert _returns(lam=0.0) == [11.0, 22.0, 33.0]
    targets = one_step_targets(REWARD, _flags(0, 1, 0), VALUE_NEXT, discount=0.5)
    assert targets[:, 0].tolist() == [6.0, 2.0, 18.0]


def test_peng_mixes_value_and_return() -> None:
    # G1 = 2 + .5 * 20 + .5 * 33; G0 = 1 + .5 * 10 + .5 * 28.5
    assert _returns(trace="peng") == [20.25, 28.5, 33.0]


def test_watkins_cuts_before_an_exploratory_slate() -> None:
    # Slate 1 explored: G0 = 1 + 10; slate 2 is greedy: G1 as without cuts.
    assert _returns(trace="watkins", greedy=_flags(0, 0, 1)) == [11.0, 30.5, 33.0]
    assert _returns(trace="watkins", greedy=_flags(0, 1, 1)) == _returns()


def test_sarsa_bootstraps_from_the_slate_shown() -> None:
    shown = _column(math.nan, 9.0, 18.0)
    # The edge knows no slate: G2 = 3 + 30; G1 = 2 + 18 + .5 (33 - 16); G0 = 1 + 9 + .5 (28.5 - 8)
    assert _returns(trace="sarsa", shown_value=shown) == [20.25, 28.5, 33.0]
    # Cut after step 1: the slate shown next belongs to another session. G0 = 1 + 9 + .5 (22 - 8)
    assert _returns(trace="sarsa", shown_value=shown, truncated=_flags(0, 1, 0)) == [17, 22, 33]
    assert _returns(lam=0.0, trace="sarsa", shown_value=shown) == [10.0, 20.0, 33.0]


def test_lambda_one_sums_rewards_when_the_baseline_is_the_value() -> None:
    ends = _flags(0, 0, 1)
    # 1 + 2 + 3, 2 + 3, 3
    assert _returns(terminated=ends, lam=1.0, trace="peng") == [6.0, 5.0, 3.0]


def test_what_must_not_be_read_may_be_nan() -> None:
    value = _column(10.0, math.nan, 30.0)
    chosen = _column(math.nan, 8.0, math.nan)
    targets = lambda_returns(REWARD, _flags(0, 1, 0), NONE, value, chosen, lam=0.5)
    assert targets[:, 0].tolist() == [8.0, 2.0, 33.0]


def test_columns_are_independent_and_inputs_untouched() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value, chosen, shown = torch.randn((4, 9, 6), generator=generator)
    ended, cut, best = torch.rand((3, 9, 6), generator=generator) < 0.3
    copies = [field.clone() for field in (reward, value, chosen)]
    options: dict[str, dict[str, Tensor]] = {
        "watkins": {"greedy": best},
        "sarsa": {"shown_value": shown},
    }
    for trace in TRACES:
        extra = options.get(trace, {})
        whole = lambda_returns(
            reward, ended, cut, value, chosen, lam=0.8, discount=0.9, trace=trace, **extra
        )
        for column in range(6):
            at = slice(column, column + 1)
            alone = lambda_returns(
                *(field[:, at] for field in (reward, ended, cut, value, chosen)),
                lam=0.8,
                discount=0.9,
                trace=trace,
                **{name: field[:, at] for name, field in extra.items()},
            )
            assert torch.equal(alone, whole[:, at])
    assert all(map(torch.equal, copies, (reward, value, chosen)))


def test_a_fragment_of_one_step() -> None:
    one = _column(1.0)
    assert lambda_returns(one, _flags(0), _flags(0), one * 7, one, lam=0.9).tolist() == [[8.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 1.5}, "lam is 1.5"),
        ({"lam": 0.5, "discount": -1.0}, "discount is -1.0"),
        ({"lam": 0.5, "trace": "retrace"}, "unknown trace 'retrace'"),
        ({"lam": 0.5, "trace": "watkins"}, "needs `greedy`"),
        ({"lam": 0.5, "trace": "sarsa"}, "needs `shown_value`"),
        ({"lam": 0.5, "greedy": NONE}, "does not use `greedy`"),
        ({"lam": 0.5, "shown_value": REWARD}, "does not use `shown_value`"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _returns(**options)


def test_n_step_returns_stop_at_the_end_of_the_fragment() -> None:
    reward = tensor([[1.0], [2.0], [4.0], [8.0]])
    never = torch.zeros(4, 1, dtype=torch.bool)
    total, count = n_step_returns(reward, never, never, n=3, discount=0.5)
    # 1 + 2 / 2 + 4 / 4, 2 + 4 / 2 + 8 / 4, 4 + 8 / 2, 8.
    assert total[:, 0].tolist() == [3.0, 6.0, 8.0, 8.0]
    assert count[:, 0].tolist() == [3, 3, 2, 1]


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_n_step_returns_stop_with_the_session(how: str) -> None:
    reward = tensor([[1.0], [2.0], [4.0], [8.0]])
    never = torch.zeros(4, 1, dtype=torch.bool)
    ends = tensor([[False], [True], [False], [False]])
    flags = {"terminated": never, "truncated": never, how: ends}
    total, count = n_step_returns(reward, **flags, n=3, discount=0.5)
    # 1 + 2 / 2, 2, 4 + 8 / 2, 8.
    assert total[:, 0].tolist() == [2.0, 2.0, 8.0, 8.0]
    assert count[:, 0].tolist() == [2, 1, 2, 1]


def test_one_step_returns_are_the_rewards() -> None:
    reward = tensor([[1.0], [2.0]])
    never = torch.zeros(2, 1, dtype=torch.bool)
    total, count = n_step_returns(reward, never, never, n=1, discount=0.5)
    assert torch.equal(total, reward)
    assert count[:, 0].tolist() == [1, 1]
