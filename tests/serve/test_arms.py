from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scipy.stats import chi2

from serve.arms import assign, share


def test_shares_are_the_same_in_every_process_and_release() -> None:
    assert share("salt", "u-1") == 0.18624357661463972
    program = "from serve.arms import share; print(share('salt', 'u-1'))"
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert float(found.stdout) == 0.18624357661463972


def test_arms_get_their_weights() -> None:
    weights = (5.0, 3.0, 2.0)
    counts = [0, 0, 0]
    for number in range(20_000):
        counts[assign(weights, "salt", f"u-{number}")] += 1
    expected = (10_000, 6_000, 4_000)
    statistic = sum((a - b) ** 2 / b for a, b in zip(counts, expected, strict=True))
    assert statistic < chi2.ppf(0.9999, 2)


def test_raising_the_last_weight_moves_units_only_to_it() -> None:
    units = [f"u-{number}" for number in range(2000)]
    before = [assign((0.9, 0.1), "salt", unit) for unit in units]
    after = [assign((0.6, 0.4), "salt", unit) for unit in units]
    assert all(new == 1 for old, new in zip(before, after, strict=True) if old == 1)
    assert sum(after) > sum(before)


def test_another_salt_mixes_anew() -> None:
    units = [f"u-{number}" for number in range(2000)]
    one = [assign((1, 1), "salt", unit) for unit in units]
    two = [assign((1, 1), "pepper", unit) for unit in units]
    same = sum(a == b for a, b in zip(one, two, strict=True))
    assert 850 < same < 1150  # 1,000 expected, standard deviation 22


def test_an_arm_without_weight_gets_nobody() -> None:
    assert {assign((0.0, 1.0, 0.0), "salt", f"u-{n}") for n in range(500)} == {1}
