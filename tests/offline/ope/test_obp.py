"""Open Bandit Pipeline 0.4.1 as a second opinion: same inputs, same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offline.ope import Logged, Options, estimate, estimator

obp = pytest.importorskip("obp.ope", reason="obp 0.4.1 is optional", exc_type=ImportError)

ROWS, ACTIONS = 500, 4
GENERATOR = np.random.default_rng(0)
BEHAVIOUR, TARGET = (GENERATOR.dirichlet(np.ones(ACTIONS), size=ROWS) for _ in range(2))
ACTION = (BEHAVIOUR.cumsum(1) < GENERATOR.random((ROWS, 1))).sum(1).clip(max=ACTIONS - 1)
GUESS = GENERATOR.random((ROWS, ACTIONS))
REWARD = (GENERATOR.random(ROWS) < 0.3 + 0.1 * ACTION).astype(float)
AT = np.arange(ROWS), ACTION
LOG = Logged.one_step(
    REWARD,
    behaviour=np.log(BEHAVIOUR[AT]),
    target=np.log(TARGET[AT]),
    q=GUESS[AT],
    v=(TARGET * GUESS).sum(1),
)
THEIRS = {
    "reward": REWARD,
    "action": ACTION,
    "pscore": BEHAVIOUR[AT],
    "action_dist": TARGET[:, :, None],
    "estimated_rewards_by_reg_model": GUESS[:, :, None],
    "position": np.zeros(ROWS, int),
}


@pytest.mark.parametrize(
    ("name", "options", "theirs", "arguments"),
    [
        ("ips", None, "InverseProbabilityWeighting", {}),
        ("snips", None, "SelfNormalizedInverseProbabilityWeighting", {}),
        ("dm", None, "DirectMethod", {}),
        ("dr", None, "DoublyRobust", {}),
        ("switch_dr", Options(largest_weight=2.0), "SwitchDoublyRobust", {"tau": 2.0}),
        ("dr_os", Options(shrinkage=3.0), "DoublyRobustWithShrinkage", {"lambda_": 3.0}),
    ],
)
def test_one_step(
    name: str, options: Options | None, theirs: str, arguments: dict[str, Any]
) -> None:
    expected = getattr(obp, theirs)(**arguments).estimate_policy_value(**THEIRS)
    assert estimate(estimator(name)(LOG, options)) == pytest.approx(expected, abs=1e-6)


SLOTS = 3
SLOT_BEHAVIOUR, SLOT_TARGET, SHOWN_BEHAVIOUR, SHOWN_TARGET = (
    GENERATOR.uniform(0.2, 0.9, size=(4, ROWS, SLOTS))
)  # fmt: skip
SLOT_REWARD = GENERATOR.integers(0, 2, size=(ROWS, SLOTS)).astype(float)


@pytest.mark.parametrize(
    ("name", "theirs", "suffix", "columns"),
    [
        (
            "sips",
            "SlateStandardIPS",
            "",
            [np.repeat(each.prod(1), SLOTS) for each in (SLOT_BEHAVIOUR, SLOT_TARGET)],
        ),
        (
            "iips",
            "SlateIndependentIPS",
            "_item_position",
            [SHOWN_BEHAVIOUR.ravel(), SHOWN_TARGET.ravel()],
        ),
        (
            "rips",
            "SlateRewardInteractionIPS",
            "_cascade",
            [each.cumprod(1).ravel() for each in (SLOT_BEHAVIOUR, SLOT_TARGET)],
        ),
    ],
)
def test_slates(name: str, theirs: str, suffix: str, columns: list[np.ndarray]) -> None:
    log = Logged.one_step(
        SLOT_REWARD.sum(1),
        slot_reward=SLOT_REWARD,
        behaviour_slots=np.log(SLOT_BEHAVIOUR),
        target_slots=np.log(SLOT_TARGET),
        behaviour_marginals=np.log(SHOWN_BEHAVIOUR),
        target_marginals=np.log(SHOWN_TARGET),
    )
    expected = getattr(obp, theirs)(len_list=SLOTS).estimate_policy_value(
        slate_id=np.repeat(np.arange(ROWS), SLOTS),
        reward=SLOT_REWARD.ravel(),
        position=np.tile(np.arange(SLOTS), ROWS),
        **{f"pscore{suffix}": columns[0], f"evaluation_policy_pscore{suffix}": columns[1]},
    )
    assert estimate(estimator(name)(log)) == pytest.approx(expected, abs=1e-6)
