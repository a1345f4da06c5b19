"""The table of estimators: what each needs, and how it reads a log."""

from __future__ import annotations

import numpy as np

from offline.ope import bandit, sessions, slates
from offline.ope.columns import Logged
from offline.ope.contributions import Contributions
from offline.ope.estimator import Estimator, Options
from offline.ope.ragged import Floats
from offline.ope.ratios import (
    check_any_shown,
    check_behaviour,
    log_ratio,
    marginal_log_ratio,
    session_log_weight,
    slot_log_ratio,
    weights,
)

_PROPENSITIES = ("behaviour", "target")
_PREDICTIONS = ("q", "v")
_SLOTS = ("behaviour_slots", "target_slots")


def _largest(log: Logged, options: Options) -> float:
    return (
        float(np.sqrt(log.sessions)) if options.largest_weight is None else options.largest_weight
    )


def _strength(log: Logged, options: Options) -> float:
    return float(log.sessions) if options.shrinkage is None else options.shrinkage


def _weights(log: Logged) -> Floats:
    return weights(log_ratio(log))


def _model(log: Logged) -> tuple[Floats, Floats]:
    return _given(log.q), _given(log.v)


def _given(column: Floats | None) -> Floats:
    assert column is not None, "Estimator.__call__ looks for the columns it needs"
    return column


def _clipped(log: Logged, options: Options) -> Contributions:
    return Contributions(bandit.clipped(_weights(log), log.reward, _largest(log, options)))


def _switch(log: Logged, options: Options) -> Contributions:
    return Contributions(
        bandit.switch_doubly_robust(_weights(log), log.reward, *_model(log), _largest(log, options))
    )


def _shrinkage(log: Logged, options: Options) -> Contributions:
    return Contributions(
        bandit.optimistic_shrinkage(
            _weights(log), log.reward, *_model(log), _strength(log, options)
        )
    )


def _pseudo_inverse(log: Logged, options: Options) -> Contributions:
    check_behaviour(log)
    return Contributions(slates.pseudo_inverse(_given(log.pseudo_inverse), log.reward))


def _standard(log: Logged, options: Options) -> Contributions:
    ratio = slot_log_ratio(log)
    check_any_shown(ratio.sum(1))
    return Contributions(slates.standard(ratio, log.reward))


def _cascade(log: Logged, options: Options) -> Contributions:
    columns = _given(log.slot_reward), _given(log.slot_q), _given(log.slot_v)
    return Contributions(slates.cascade_doubly_robust(slot_log_ratio(log), *columns))


TABLE = (
    Estimator(
        "logged",
        "mean return as logged: the value of the policy that logged",
        "sessions",
        (),
        lambda log, options: sessions.returns(log.reward, log.offsets, log.discount),
    ),
    Estimator(
        "ips",
        "inverse propensity scoring; unbiased",
        "one step",
        _PROPENSITIES,
        lambda log, options: Contributions(bandit.ips(_weights(log), log.reward)),
    ),
    Estimator(
        "snips",
        "self-normalised IPS; less variance, vanishing bias",
        "one step",
        _PROPENSITIES,
        lambda log, options: bandit.self_normalised(log_ratio(log), log.reward),
        normalised=True,
    ),
    Estimator(
        "clipped",
        "IPS with clipped weights; biased where they are large",
        "one step",
        _PROPENSITIES,
        _clipped,
    ),
    Estimator(
        "dm",
        "direct method: what a model predicts; as biased as it",
        "one step",
        ("v",),
        lambda log, options: Contributions(bandit.direct(_given(log.v))),
    ),
    Estimator(
        "dr",
        "doubly robust: model, corrected by weights; unbiased",
        "one step",
        (*_PROPENSITIES, *_PREDICTIONS),
        lambda log, options: Contributions(
            bandit.doubly_robust(_weights(log), log.reward, *_model(log))
        ),
    ),
    Estimator(
        "switch_dr",
        "doubly robust, but the model alone where weights are large",
        "one step",
        (*_PROPENSITIES, *_PREDICTIONS),
        _switch,
    ),
    Estimator(
        "dr_os",
        "doubly robust with optimistically shrunk weights",
        "one step",
        (*_PROPENSITIES, *_PREDICTIONS),
        _shrinkage,
    ),
    Estimator(
        "pdis",
        "per-decision importance sampling; unbiased",
        "sessions",
        _PROPENSITIES,
        lambda log, options: sessions.per_decision(
            session_log_weight(log), log.reward, log.offsets, log.discount
        ),
    ),
    Estimator(
        "wis",
        "returns averaged by the weights of whole sessions",
        "sessions",
        _PROPENSITIES,
        lambda log, options: sessions.weighted(
            session_log_weight(log), log.reward, log.offsets, log.discount
        ),
        normalised=True,
    ),
    Estimator(
        "wpdis",
        "rewards of each step averaged by the weights up to it",
        "sessions",
        _PROPENSITIES,
        lambda log, options: sessions.weighted_per_decision(
            session_log_weight(log), log.reward, log.offsets, log.discount
        ),
        normalised=True,
    ),
    Estimator(
        "fqe",
        "fitted Q evaluation: what a model predicts; as biased as it",
        "sessions",
        ("v",),
        lambda log, options: sessions.fitted_q(_given(log.v), log.offsets),
    ),
    Estimator(
        "sdr",
        "sequential doubly robust: model, corrected by weights; unbiased",
        "sessions",
        (*_PROPENSITIES, *_PREDICTIONS),
        lambda log, options: sessions.doubly_robust(
            session_log_weight(log), log.reward, *_model(log), log.offsets, log.discount
        ),
    ),
    Estimator(
        "wdr",
        "sequential doubly robust with normalised weights",
        "sessions",
        (*_PROPENSITIES, *_PREDICTIONS),
        lambda log, options: sessions.weighted_doubly_robust(
            session_log_weight(log), log.reward, *_model(log), log.offsets, log.discount
        ),
        normalised=True,
    ),
    Estimator(
        "sips",
        "slate IPS: weights of whole slates; unbiased",
        "slates",
        _SLOTS,
        _standard,
    ),
    Estimator(
        "iips",
        "independent IPS: a slot's reward depends on its own item alone",
        "slates",
        ("behaviour_marginals", "target_marginals", "slot_reward"),
        lambda log, options: Contributions(
            slates.independent(marginal_log_ratio(log), _given(log.slot_reward))
        ),
    ),
    Estimator(
        "rips",
        "reward-interaction IPS: a slot's reward depends on the items up to it",
        "slates",
        (*_SLOTS, "slot_reward"),
        lambda log, options: Contributions(
            slates.reward_interaction(slot_log_ratio(log), _given(log.slot_reward))
        ),
    ),
    Estimator(
        "pi",
        "pseudo-inverse: the reward is a sum of effects of items in slots",
        "slates",
        ("behaviour", "pseudo_inverse"),
        _pseudo_inverse,
    ),
    Estimator(
        "cascade_dr",
        "reward-interaction IPS with a model of the slots, doubly robust",
        "slates",
        (*_SLOTS, "slot_reward", "slot_q", "slot_v"),
        _cascade,
    ),
)
