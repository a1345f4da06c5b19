"""Choice models: scores in, probabilities out.

RecSim's four models as pure functions. `scores` is (B, K), in slate order; the
result is (B, K + 1), the last column the probability of no click.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def multinomial_logit(scores: Tensor, no_click_mass: float | Tensor) -> Tensor:
    """p_i proportional to exp(score_i), no click to exp(no_click_mass).

    Source: McFadden (1974); `MultinomialLogitChoiceModel` in RecSim.
    """
    return torch.softmax(_with_no_click(scores, no_click_mass), dim=0).t()


def multinomial_proportional(
    scores: Tensor, no_click_mass: float | Tensor, min_normalizer: float
) -> Tensor:
    """p_i proportional to score_i - min_normalizer, and so for no click.

    Raises:
        ValueError: a shifted score is negative.

    Source: `MultinomialProportionalChoiceModel` in RecSim.
    """
    mass = _with_no_click(scores, no_click_mass) - min_normalizer
    _refuse_negative(mass, min_normalizer)
    return (mass / mass.sum(dim=0)).t()


def exponential_cascade(scores: Tensor, attention_prob: float, score_scaling: float) -> Tensor:
    """The user walks down the slate and stops at i with attention * scaling * exp(score_i).

    Raises:
        ValueError: a stopping probability exceeds 1.

    Source: `ExponentialCascadeChoiceModel` in RecSim.
    """
    return _cascade(torch.exp(scores), attention_prob, score_scaling)


def proportional_cascade(
    scores: Tensor, min_normalizer: float, attention_prob: float, score_scaling: float
) -> Tensor:
    """As the exponential cascade, with score_i - min_normalizer for exp(score_i).

    Raises:
        ValueError: a shifted score is negative, or a stopping probability exceeds 1.

    Source: `ProportionalCascadeChoiceModel` in RecSim, which cannot run as
    published: it asserts on a whole array.
    """
    shifted = scores - min_normalizer
    _refuse_negative(shifted, min_normalizer)
    return _cascade(shifted, attention_prob, score_scaling)


def _with_no_click(scores: Tensor, no_click_mass: float | Tensor) -> Tensor:
    """Scores and then the no-click mass, slots first: (K + 1, B), which torch sums fastest."""
    batch = len(scores)
    if isinstance(no_click_mass, Tensor):
        no_click = no_click_mass.to(scores).expand(batch)
    else:
        no_click = scores.new_full((batch,), no_click_mass)
    return torch.cat([scores.t(), no_click[None]])


def _refuse_negative(shifted: Tensor, min_normalizer: float) -> None:
    lowest = float(shifted.min())
    if lowest < 0:
        raise ValueError(
            f"a score lies {-lowest:g} below min_normalizer ({min_normalizer}), "
            "which gives a negative probability; lower min_normalizer"
        )


def _cascade(scores: Tensor, attention_prob: float, score_scaling: float) -> Tensor:
    scaled = score_scaling * scores
    if bool((scaled > 1).any()):
        raise ValueError(
            f"score_scaling {score_scaling} turns a score into the probability "
            f"{float(scaled.max()):g}, which exceeds 1; lower score_scaling"
        )
    stop = attention_prob * scaled
    reach = torch.cumprod(torch.nn.functional.pad(1 - stop, (1, 0), value=1.0), dim=1)
    return torch.cat([reach[:, :-1] * stop, reach[:, -1:]], dim=1)


CHOICE_MODELS: dict[str, Callable[..., Tensor]] = {
    "multinomial_logit": multinomial_logit,
    "multinomial_proportional": multinomial_proportional,
    "exponential_cascade": exponential_cascade,
    "proportional_cascade": proportional_cascade,
}

_PARAMETERS = {
    "multinomial_logit": ("no_click_mass",),
    "multinomial_proportional": ("no_click_mass", "min_normalizer"),
    "exponential_cascade": ("attention_prob", "score_scaling"),
    "proportional_cascade": ("min_normalizer", "attention_prob", "score_scaling"),
}


@dataclass(frozen=True)
class ChoiceModel:
    """A choice model by name, with the parameters that any of them may need.

    Attributes:
        name: a key of `CHOICE_MODELS`.
        no_click_mass: score of not clicking, in the scores' unit (multinomial models).
        min_normalizer: subtracted from every score (proportional models).
        attention_prob: probability of looking at the next document (cascades).
        score_scaling: factor from score to probability (cascades).
    """

    name: str
    no_click_mass: float = 1.0
    min_normalizer: float = -1.0
    attention_prob: float = 0.65
    score_scaling: float = 0.05

    def __post_init__(self) -> None:
        """Refuse unknown names and impossible parameters."""
        if self.name not in CHOICE_MODELS:
            raise ValueError(
                f"unknown choice model '{self.name}'; choose one of {', '.join(CHOICE_MODELS)}"
            )
        if not 0 <= self.attention_prob <= 1 or self.score_scaling < 0:
            raise ValueError(
                f"attention_prob is {self.attention_prob} and score_scaling {self.score_scaling}; "
                "attention_prob must lie in [0, 1] and score_scaling must not be negative"
            )

    def probabilities(self, scores: Tensor) -> Tensor:
        """(B, K) scores to (B, K + 1) probabilities; the last is no click."""
        arguments = {name: getattr(self, name) for name in _PARAMETERS[self.name]}
        return CHOICE_MODELS[self.name](scores, **arguments)


def choose(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sampling, in the arithmetic of `numpy.random.choice`.

    Args:
        probabilities: (B, K + 1), rows sum to 1.
        uniform: (B,) in [0, 1).

    Returns:
        (B,) int64 in 0..K; K means no click.
    """
    cdf = probabilities.t().cumsum(dim=0)
    return (cdf / cdf[-1] <= uniform).sum(dim=0)
