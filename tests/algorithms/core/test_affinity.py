from __future__ import annotations

import math

import pytest
import torch
from torch import tensor

from algorithms.core.affinity import attraction, check_appeal, scores
from algorithms.core.optimise import CASCADES, MULTINOMIAL, slate_value
from envs.choice import CHOICE_MODELS, ChoiceModel
from envs.spec import FeatureSpec, number, vector

USER = (number("age"), vector("interests", 2))
CANDIDATE = (number("length"), vector("topics", 2))
RESPONSE = (number("click", 0, 1),)


def _spec(appeal: tuple[str | None, str] | None) -> FeatureSpec:
    return FeatureSpec(USER, CANDIDATE, RESPONSE, appeal)


def test_scores_are_dot_products_of_the_named_features() -> None:
    user = tensor([[99.0, 2.0, -1.0]])
    candidates = tensor([[[5.0, 1.0, 0.0], [6.0, 3.0, 4.0]]])
    # 2 * 1, and 2 * 3 - 4
    assert scores(_spec(("interests", "topics")), user, candidates).tolist() == [[2.0, 2.0]]
    assert scores(_spec((None, "length")), user, candidates).tolist() == [[5.0, 6.0]]


def test_a_world_without_appeal_is_refused() -> None:
    with pytest.raises(ValueError, match="declares no appeal"):
        check_appeal(_spec(None))
    with pytest.raises(ValueError, match="declares no appeal"):
        scores(_spec(None), torch.zeros(1, 3), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="'topics' alone, which has 2 columns"):
        scores(_spec((None, "topics")), torch.zeros(1, 3), torch.zeros(1, 2, 3))


def test_masses_by_hand() -> None:
    score = tensor([[0.0, 1.0, -3.0]])
    masses, no_click = attraction(ChoiceModel("multinomial_proportional"), score)
    # score + 1 against 1 + 1; a score below min_normalizer is clamped, not refused.
    assert masses.tolist() == [[1.0, 2.0, 0.0]] and no_click == 2.0
    masses, no_click = attraction(ChoiceModel("multinomial_logit"), score)
    assert masses.tolist()[0] == pytest.approx([1.0, math.e, math.exp(-3)])
    assert no_click == pytest.approx(math.e)
    wide = ChoiceModel("proportional_cascade", attention_prob=0.5, score_scaling=0.6)
    # 0.5 * 0.6 * 1; 0.6 * 2 is capped at 1; a negative one is 0.
    assert attraction(wide, score)[0].tolist()[0] == pytest.approx([0.3, 0.5, 0.0])
    steep = ChoiceModel("exponential_cascade", attention_prob=0.5, score_scaling=0.6)
    assert attraction(steep, score)[0].tolist()[0] == pytest.approx([0.3, 0.5, 0.3 * math.exp(-3)])


@pytest.mark.parametrize("name", sorted(CHOICE_MODELS))
def test_odd_scores_give_finite_masses(name: str) -> None:
    masses, no_click = attraction(ChoiceModel(name, no_click_mass=1e4), tensor([[1e4, -1e4]]))
    assert bool(torch.isfinite(masses).all()) and bool((masses >= 0).all())
    assert math.isfinite(no_click) and no_click >= 0


@pytest.mark.parametrize("name", sorted(CHOICE_MODELS))
def test_masses_mean_what_the_choice_model_means(name: str) -> None:
    choice = ChoiceModel(name, no_click_mass=0.5)
    score, slate = tensor([[0.2, 0.9, -0.4, 0.6]]), tensor([[2, 0, 1]])
    value = tensor([[1.0, 10.0, 100.0, 1000.0]])
    clicks = choice.probabilities(score.gather(1, slate))[:, :-1]
    expected = (clicks * value.gather(1, slate)).sum(1)
    masses, no_click = attraction(choice, score)
    assert torch.allclose(slate_value(name, value, masses, no_click, slate), expected)


def test_every_choice_model_has_an_optimiser() -> None:
    assert {*MULTINOMIAL, *CASCADES} == set(CHOICE_MODELS)
