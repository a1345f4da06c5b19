"""Worlds small enough to list every session: expectations are sums, and hold to 1e-12.

`resample` takes the expected number of each session for its counts, which
makes a mean its expectation, and a ratio its limit for long logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from algorithms.core.slate_moments import enumerate_slates
from algorithms.core.slates import plackett_luce
from offline.ope import Contributions, Logged, Options, estimator
from offline.ope.contributions import influence, resample
from offline.ope.slates import pseudo_inverse_weights

Array = NDArray[np.float64]


def expected(contributions: Contributions, probability: Array) -> float:
    return float(resample(contributions, len(probability) * probability[None])[0])


# One step: two contexts, three actions, rewards 0 and 1.
CONTEXT = np.array([0.3, 0.7])
BEHAVIOUR = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
TARGET = np.array([[0.7, 0.2, 0.1], [0.1, 0.9, 0.0]])
CLICK = np.array([[0.1, 0.5, 0.8], [0.4, 0.9, 0.2]])
GUESS = np.array([[0.3, 0.2, 0.9], [0.0, 0.5, 0.5]])
ONE_STEP_VALUE = float((CONTEXT[:, None] * TARGET * CLICK).sum())


def one_step() -> tuple[Logged, Array]:
    x, a, r = np.array(list(product(range(2), range(3), range(2)))).T
    chance = np.where(r == 1, CLICK[x, a], 1 - CLICK[x, a])
    with np.errstate(divide="ignore"):
        target = np.log(TARGET[x, a])
    log = Logged.one_step(
        r,
        behaviour=np.log(BEHAVIOUR[x, a]),
        target=target,
        q=GUESS[x, a],
        v=(TARGET * GUESS).sum(1)[x],
    )
    return log, CONTEXT[x] * BEHAVIOUR[x, a] * chance


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "pdis", "wis", "wpdis", "sdr", "wdr"])
def test_one_step(name: str) -> None:
    log, probability = one_step()
    assert expected(estimator(name)(log), probability) == pytest.approx(ONE_STEP_VALUE, abs=1e-12)


@pytest.mark.parametrize("name", ["clipped", "switch_dr", "dr_os", "dm"])
def test_what_is_biased_here(name: str) -> None:
    log, probability = one_step()
    settings = Options(largest_weight=1.5, shrinkage=2.0)
    assert abs(expected(estimator(name)(log, settings), probability) - ONE_STEP_VALUE) > 0.01


@pytest.mark.parametrize("name", ["clipped", "switch_dr", "dr_os"])
def test_settings_that_no_weight_reaches_take_the_bias_away(name: str) -> None:
    log, probability = one_step()
    settings = Options(largest_weight=3.6, shrinkage=np.inf)  # the largest weight is 3.5
    value = expected(estimator(name)(log, settings), probability)
    assert value == pytest.approx(ONE_STEP_VALUE, abs=1e-12)


# Sessions of up to three steps: two states, two actions, reward 1 + state if taken,
# and after action a in state s the session goes on with probability STAY[s, a].
STEPS, DISCOUNT = 3, 0.9
ACT = np.array([[0.5, 0.5], [0.8, 0.2]])
WANT = np.array([[0.9, 0.1], [0.3, 0.7]])
STAY = np.array([[0.6, 0.9], [0.5, 0.3]])
TO_ONE = np.array([[0.2, 0.7], [0.5, 0.9]])
PAY = np.array([[1.0, -0.5], [2.0, 3.0]])
PREDICTED = np.array([[1.5, 0.5], [3.0, 2.0]])

Step = tuple[int, int]


def sessions(state: int = 0, step: int = 0) -> Iterator[tuple[list[Step], float]]:
    """(state, action) pairs and the probability of each session from a state on."""
    for action in range(2):
        here = ACT[state, action]
        stay = STAY[state, action] if step + 1 < STEPS else 0.0
        yield [(state, action)], here * (1 - stay)
        if stay:
            for following, chance in ((1, TO_ONE[state, action]), (0, 1 - TO_ONE[state, action])):
                for rest, probability in sessions(following, step + 1):
                    yield [(state, action), *rest], here * stay * chance * probability


def true_value() -> float:
    later = np.zeros(2)
    for step in range(STEPS - 1, -1, -1):
        move = TO_ONE * later[1] + (1 - TO_ONE) * later[0]
        stay = STAY if step + 1 < STEPS else np.zeros((2, 2))
        later = (WANT * (PAY + DISCOUNT * stay * move)).sum(1)
    return float(later[0])


def all_sessions() -> tuple[Logged, Array]:
    listed = list(sessions())
    s, a = np.array([pair for pairs, _ in listed for pair in pairs]).T
    offsets = np.cumsum([0, *(len(pairs) for pairs, _ in listed)])
    log = Logged(
        PAY[s, a],
        offsets,
        DISCOUNT,
        behaviour=np.log(ACT[s, a]),
        target=np.log(WANT[s, a]),
        q=PREDICTED[s, a],
        v=(WANT * PREDICTED).sum(1)[s],
    )
    return log, np.array([probability for _, probability in listed])


@pytest.mark.parametrize("name", ["pdis", "wis", "wpdis", "sdr", "wdr"])
def test_sessions_that_end_at_random(name: str) -> None:
    log, probability = all_sessions()
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    found = expected(estimator(name)(log), probability)
    assert found == pytest.approx(true_value(), abs=1e-12)
    assert expected(estimator("logged")(log), probability) < true_value() - 0.1


@pytest.mark.parametrize("name", ["snips", "wis", "wpdis", "wdr"])
def test_the_influence_is_the_derivative_by_the_session(name: str) -> None:
    log, _ = one_step() if name == "snips" else all_sessions()
    found = estimator(name)(log)
    count, small = log.sessions, 1e-6
    # One session a little more often, and all a little less: the derivative is
    # that session's influence less the mean of all.
    counts = np.ones((count, count)) * (1 - small / count) + small * np.eye(count)
    slope = (resample(found, counts) - resample(found, np.ones((1, count)))) / small * count
    assert_allclose(slope, influence(found) - influence(found).mean(), atol=1e-4)


# Slates: two of four items.
def slate_log(kind: str) -> tuple[Logged, Array, float]:
    """All slates; rewards of slots by a kind of user, expectation and all."""
    mask = torch.ones(1, 4, dtype=torch.bool)
    behaviour = plackett_luce(
        torch.tensor([[0.5, 0.0, -0.5, 0.2]], dtype=torch.float64), mask, 2, epsilon=0.2
    )
    target = plackett_luce(torch.tensor([[-1.0, 1.0, 0.5, 0.0]], dtype=torch.float64), mask, 2)
    every, log_probs = enumerate_slates(behaviour)
    count = len(every)
    own = np.array([[0.3, 0.1, 0.9, 0.4], [0.2, 0.8, 0.1, 0.5]])
    slates = every.numpy()
    reward = np.stack([own[0][slates[:, 0]], own[1][slates[:, 1]]], axis=1)
    if kind in ("cascade", "whole"):
        reward[:, 1] *= 1 + slates[:, 0]
    if kind == "whole":
        reward[:, 0] *= 1 + slates[:, 1]
    at = np.arange(2), slates
    repeated = [plackett_luce(d.log_weights.expand(count, -1), mask.expand(count, -1), 2,
                              epsilon=d.epsilon) for d in (behaviour, target)]  # fmt: skip
    slots = [each.slot_log_prob(every).numpy() for each in repeated]
    marginals = [each.marginals()[0].numpy() for each in (behaviour, target)]
    guess = np.array([0.5, 0.1, 0.3, 0.9])  # of the second slot's reward, by its item
    after = np.exp(
        target.conditional(torch.eye(4, dtype=torch.bool)[None], 1).numpy()[0]
    )  # (first item, second item)
    mean_after = after @ guess
    first = 0.4 + mean_after  # a guess of the whole, by the first item
    log = Logged.one_step(
        reward.sum(1),
        behaviour_slots=slots[0],
        target_slots=slots[1],
        behaviour_marginals=np.log(marginals[0][at]),
        target_marginals=np.log(marginals[1][at]),
        slot_reward=reward,
        pseudo_inverse=pseudo_inverse_weights(
            slates,
            np.repeat(behaviour.pairwise().numpy(), count, 0),
            np.repeat(marginals[1][None], count, 0),
        ),
        slot_q=np.stack([first[slates[:, 0]], guess[slates[:, 1]]], axis=1),
        slot_v=np.stack(
            [np.full(count, marginals[1][0] @ first), mean_after[slates[:, 0]]], axis=1
        ),
    )
    truth = float(np.exp(slots[1].sum(1)) @ reward.sum(1))
    return log, np.exp(log_probs.numpy()[0]), truth


@pytest.mark.parametrize(
    ("kind", "unbiased"),
    [
        ("own", {"sips", "iips", "rips", "pi", "cascade_dr", "ips"}),
        ("cascade", {"sips", "rips", "cascade_dr", "ips"}),
        ("whole", {"sips", "ips"}),
    ],
)
def test_slates_by_what_the_user_looks_at(kind: str, unbiased: set[str]) -> None:
    log, probability, truth = slate_log(kind)
    for name in ("ips", "sips", "iips", "rips", "pi", "cascade_dr"):
        found = expected(estimator(name)(log), probability)
        if name in unbiased:
            assert found == pytest.approx(truth, abs=1e-12), name
        else:
            assert abs(found - truth) > 1e-3, name
