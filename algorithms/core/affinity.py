"""What an agent assumes about its users: how attractive a candidate is at first sight.

Everything here comes from observed features and the agent's own settings; the
simulator's choice model is never read. Shapes: B users, N candidates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from envs.choice import ChoiceModel
from envs.spec import FeatureSpec

_MAX_EXPONENT = 60.0  # exp() beyond it would overflow float32 once summed and multiplied


def check_appeal(spec: FeatureSpec) -> None:
    """Refuse worlds in which no observed feature says what attracts.

    Raises:
        ValueError: the feature spec has no appeal, or one of several columns alone.
    """
    if spec.appeal is None:
        raise ValueError(
            "this world declares no appeal (no feature says how attractive a candidate is), so an "
            "agent cannot assume a choice model here; learn it (choice_scores: learned, with "
            "choice_model: multinomial_logit), name the appeal of your own users in compose(), or "
            "use an algorithm that needs none"
        )
    user_name, item_name = spec.appeal
    columns = spec.candidate_slice(item_name)
    if user_name is None and columns.stop - columns.start != 1:
        raise ValueError(
            f"the appeal is the candidate feature '{item_name}' alone, which has "
            f"{columns.stop - columns.start} columns; it must be a single number"
        )


def scores(spec: FeatureSpec, user: Tensor, candidates: Tensor) -> Tensor:
    """Appeal of each candidate, (B, N).

    The dot product of the user feature and the candidate feature that
    `FeatureSpec.appeal` names, or that one candidate feature.

    Args:
        spec: features of the world.
        user: (B, U).
        candidates: (B, N, D).

    Raises:
        ValueError: the feature spec has no usable appeal.
    """
    if spec.appeal is None or spec.appeal[0] is None:
        check_appeal(spec)
    assert spec.appeal is not None
    user_name, item_name = spec.appeal
    item = candidates[..., spec.candidate_slice(item_name)]
    if user_name is None:
        return item.squeeze(-1)
    return torch.matmul(item, user[:, spec.user_slice(user_name), None]).squeeze(-1)


def attraction(choice: ChoiceModel, scores: Tensor) -> tuple[Tensor, float]:
    """Choice masses under an assumed model, as `optimise` takes them.

    Multinomial logit: exp(score) against exp(no_click_mass). Multinomial
    proportional: score - min_normalizer against no_click_mass - min_normalizer.
    Cascades: probabilities to stop at an item that is reached, and 0.

    Where `envs.choice` refuses scores that give no probability, an agent
    clamps: negative masses to 0, stopping probabilities to [0, 1] before
    attention, exponents to 60.

    Args:
        choice: what the agent assumes.
        scores: (B, N).

    Returns:
        masses: (B, N), not negative; at most 1 for cascades.
        no_click_mass: of leaving without a click; 0 for cascades, which have none.
    """
    if choice.name == "multinomial_logit":
        no_click = math.exp(min(choice.no_click_mass, _MAX_EXPONENT))
        return scores.clamp(max=_MAX_EXPONENT).exp(), no_click
    if choice.name == "exponential_cascade":
        return _stopping(choice, scores.clamp(max=_MAX_EXPONENT).exp()), 0.0
    shifted = scores - choice.min_normalizer
    if choice.name == "multinomial_proportional":
        return shifted.clamp_min(0.0), max(choice.no_click_mass - choice.min_normalizer, 0.0)
    return _stopping(choice, shifted), 0.0


def _stopping(choice: ChoiceModel, scores: Tensor) -> Tensor:
    return choice.attention_prob * (choice.score_scaling * scores).clamp(0.0, 1.0)
