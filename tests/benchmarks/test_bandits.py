from __future__ import annotations

import numpy as np

from benchmarks.bandits import Logged


def test_vowpal_wabbit_reads_what_linucb_is_given() -> None:
    log = Logged(2, seed=3)
    lines = log.lines()[1]
    shown = int(log.shown[1])
    assert [line.startswith("0:") for line in lines] == [row == shown for row in range(10)]
    label, _, features = lines[shown].partition(" |f ")
    # action:cost:probability, and the cost is the negative reward.
    _, cost, probability = (float(part) for part in label.split(":"))
    assert (cost, probability) == (round(-float(log.reward[1]), 5), 0.1)
    values = [float(part.split(":")[1]) for part in features.split()]
    np.testing.assert_allclose(values, log.features[1, shown], atol=1e-5)
