"""Point estimates on a million rows, beside Open Bandit Pipeline's (obp 0.4.1).

Both get arrays as they keep them: ours the columns of `Logged`, checks and
logarithms included; obp each policy's probabilities of all actions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.core import Benchmark, Numbers, Row, at_least
from offline.ope import Logged, Options, estimate, estimator

ROWS, ACTIONS, SLOTS, ROUNDS = 1_000_000, 10, 3, 5
SLATE_ROWS = 50_000
"""Fewer, since obp checks 3 million slots for minutes."""

ONE_STEP = {
    "ips": ("InverseProbabilityWeighting", {}),
    "snips": ("SelfNormalizedInverseProbabilityWeighting", {}),
    "dm": ("DirectMethod", {}),
    "dr": ("DoublyRobust", {}),
    "switch_dr": ("SwitchDoublyRobust", {"tau": 2.0}),
    "dr_os": ("DoublyRobustWithShrinkage", {"lambda_": 3.0}),
}
SLATES = {"sips": "SlateStandardIPS", "rips": "SlateRewardInteractionIPS"}
OPTIONS = Options(largest_weight=2.0, shrinkage=3.0)

Timed = tuple[Callable[[], float], Callable[[], float]]


def one_step(rows: int) -> dict[str, Timed]:
    """Ours and theirs, on the same rows, by estimator."""
    from obp import ope

    generator = np.random.default_rng(0)
    behaviour, target = (generator.dirichlet(np.ones(ACTIONS), size=rows) for _ in range(2))
    action = (behaviour.cumsum(1) < generator.random((rows, 1))).sum(1).clip(max=ACTIONS - 1)
    guess, reward = generator.random((rows, ACTIONS)), generator.random(rows)
    at = np.arange(rows), action
    ours: dict[str, Any] = {
        "behaviour": np.log(behaviour[at]),
        "target": np.log(target[at]),
        "q": guess[at],
        "v": (target * guess).sum(1),
    }
    theirs = {
        "reward": reward,
        "action": action,
        "pscore": behaviour[at],
        "action_dist": target[:, :, None],
        "estimated_rewards_by_reg_model": guess[:, :, None],
        "position": np.zeros(rows, int),
    }

    def both(name: str) -> Timed:
        peer = getattr(ope, ONE_STEP[name][0])(**ONE_STEP[name][1])
        return _ours(name, reward, ours), lambda: float(peer.estimate_policy_value(**theirs))

    return {name: both(name) for name in ONE_STEP}


def slates(rows: int) -> dict[str, Timed]:
    """The same for slates."""
    from obp import ope

    generator = np.random.default_rng(0)
    behaviour, target = generator.uniform(0.2, 0.9, size=(2, rows, SLOTS))
    slot_reward = generator.random((rows, SLOTS))
    ours = {
        "behaviour_slots": np.log(behaviour),
        "target_slots": np.log(target),
        "slot_reward": slot_reward,
    }
    shared = {
        "slate_id": np.repeat(np.arange(rows), SLOTS),
        "reward": slot_reward.ravel(),
        "position": np.tile(np.arange(SLOTS), rows),
    }
    weights = {
        "sips": ("", [np.repeat(each.prod(1), SLOTS) for each in (behaviour, target)]),
        "rips": ("_cascade", [each.cumprod(1).ravel() for each in (behaviour, target)]),
    }

    def both(name: str) -> Timed:
        suffix, (logged, wanted) = weights[name]
        given = {f"pscore{suffix}": logged, f"evaluation_policy_pscore{suffix}": wanted}
        peer = getattr(ope, SLATES[name])(len_list=SLOTS)
        reward = slot_reward.sum(1)
        return (
            _ours(name, reward, ours),
            lambda: float(peer.estimate_policy_value(**shared, **given)),
        )

    return {name: both(name) for name in SLATES}


def _ours(name: str, reward: Any, columns: dict[str, Any]) -> Callable[[], float]:
    needed = {key: columns[key] for key in estimator(name).needs}
    return lambda: estimate(estimator(name)(Logged.one_step(reward, **needed), OPTIONS))


def measure(quick: bool) -> Numbers:
    """CPU-seconds of each, in turns; medians.

    Raises:
        ImportError: obp is not installed.
        RuntimeError: the two do not agree.
    """
    share = 100 if quick else 1
    ratios: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for made, rows in ((one_step, ROWS // share), (slates, SLATE_ROWS // share)):
        for name, (ours, theirs) in made(rows).items():
            if abs(ours() - theirs()) > 1e-6:
                raise RuntimeError(f"{name}: ours is {ours()}, obp's {theirs()}")
            spent = [(_cpu(ours), _cpu(theirs)) for _ in range(ROUNDS)]
            mine, other = (statistics.median(each) for each in zip(*spent, strict=True))
            ratios[name], seconds[name] = round(other / mine, 1), round(mine, 3)
    return {"ratio": ratios, "seconds": seconds, "least": min(ratios.values())}


def _cpu(function: Callable[[], float]) -> float:
    start = time.process_time()
    function()
    return max(time.process_time() - start, 1e-6)


def _in_words(numbers: Numbers) -> str:
    each = ", ".join(f"{name} {ratio:.1f}" for name, ratio in numbers["ratio"].items())
    return f"{numbers['least']:.1f} times at least ({each})"


BENCHMARKS = (
    Benchmark(
        "ope_speed",
        "point estimates on 1 M rows against obp",
        measure,
        (
            Row(
                "off-policy point estimates on 1 M rows (slates: 50,000), times as fast as obp",
                _in_words,
                at_least("faster", "least", 1.0),
                at_least("10 times", "least", 10.0),
            ),
        ),
    ),
)
