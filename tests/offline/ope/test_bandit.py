"""Three rows: weights 2, 0.5 and 1; rewards 1, 4 and 3; q = 2, 2, 1; v = 1, 3, 2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offline.ope import Logged, Options, estimate, estimator

LOG = Logged.one_step(
    [1.0, 4.0, 3.0],
    behaviour=np.log([0.25, 0.5, 0.5]),
    target=np.log([0.5, 0.25, 0.5]),
    q=[2.0, 2.0, 1.0],
    v=[1.0, 3.0, 2.0],
)


def value(name: str, options: Options | None = None, log: Logged = LOG) -> float:
    return estimate(estimator(name)(log, options))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("logged", (1 + 4 + 3) / 3),
        ("ips", (2 * 1 + 0.5 * 4 + 1 * 3) / 3),
        ("snips", (2 * 1 + 0.5 * 4 + 1 * 3) / 3.5),
        # By default at sqrt(3) = 1.732.
        ("clipped", (math.sqrt(3) * 1 + 0.5 * 4 + 1 * 3) / 3),
        ("dm", (1 + 3 + 2) / 3),
        # 1 + 2 (1 - 2) = -1; 3 + 0.5 (4 - 2) = 4; 2 + 1 (3 - 1) = 4.
        ("dr", (-1 + 4 + 4) / 3),
        # The first weight is above sqrt(3): 1.
        ("switch_dr", (1 + 4 + 4) / 3),
        # 3 w / (w^2 + 3): 6/7, 1.5/3.25, 3/4.
        ("dr_os", (1 - 6 / 7 + 3 + 2 * 1.5 / 3.25 + 2 + 2 * 0.75) / 3),
    ],
)
def test_values_by_hand(name: str, expected: float) -> None:
    assert value(name) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("clipped", Options(largest_weight=0.75), (0.75 + 2 + 0.75 * 3) / 3),
        ("switch_dr", Options(largest_weight=2.0), 7 / 3),
        ("switch_dr", Options(largest_weight=0.75), (1 + 4 + 2) / 3),
        # 2 w / (w^2 + 2): 4/6, 1/2.25, 2/3.
        ("dr_os", Options(shrinkage=2.0), (1 - 2 / 3 + 3 + 2 / 2.25 + 2 + 4 / 3) / 3),
        ("dr_os", Options(shrinkage=math.inf), 7 / 3),
    ],
)
def test_settings_count(name: str, options: Options, expected: float) -> None:
    assert value(name, options) == pytest.approx(expected, abs=1e-12)


def test_shrinkage_goes_from_the_direct_method_to_doubly_robust() -> None:
    assert value("dr_os", Options(shrinkage=1e-12)) == pytest.approx(value("dm"), abs=1e-9)
    assert value("dr_os", Options(shrinkage=1e12)) == pytest.approx(value("dr"), abs=1e-9)


def test_a_slate_that_the_target_never_shows_has_weight_0() -> None:
    log = Logged.one_step([5.0, 1.0], behaviour=np.log([0.5, 0.5]), target=[-np.inf, 0.0])
    assert value("ips", log=log) == 1.0  # (0 * 5 + 2 * 1) / 2
    assert value("snips", log=log) == 1.0  # 2 * 1 / 2


def test_self_normalised_weights_never_overflow() -> None:
    log = Logged.one_step([1.0, 4.0], behaviour=[-2000.0, -2000.0], target=[0.0, -np.log(3)])
    assert value("snips", log=log) == pytest.approx((1 + 4 / 3) / (4 / 3))  # weights 3 to 1


@pytest.mark.parametrize("name", ["largest_weight", "shrinkage"])
def test_settings_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; it must be positive"):
        Options(**{name: 0})
