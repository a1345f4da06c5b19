"""Choice models against numbers worked out by hand."""

import math

import pytest
import torch
from torch import tensor

from envs.choice import (
    CHOICE_MODELS,
    ChoiceModel,
    choose,
    exponential_cascade,
    multinomial_logit,
    multinomial_proportional,
    proportional_cascade,
)


def test_multinomial_logit() -> None:
    # exp(ln 1), exp(ln 2) and exp(ln 3) for no click: 1, 2, 3 of 6.
    scores = tensor([[0.0, math.log(2)]], dtype=torch.float64)
    expected = tensor([[1 / 6, 2 / 6, 3 / 6]], dtype=torch.float64)
    torch.testing.assert_close(multinomial_logit(scores, math.log(3)), expected)


def test_multinomial_logit_of_large_scores_does_not_overflow() -> None:
    torch.testing.assert_close(multinomial_logit(tensor([[1000.0]]), 1000.0), tensor([[0.5, 0.5]]))


def test_multinomial_proportional() -> None:
    # Less -1 each: 0.5 + 1 = 1.5, -0.5 + 1 = 0.5, no click 1 + 1 = 2; sum 4.
    scores = tensor([[0.5, -0.5]])
    expected = tensor([[0.375, 0.125, 0.5]])
    torch.testing.assert_close(multinomial_proportional(scores, 1.0, -1.0), expected)


def test_no_click_mass_may_differ_by_user() -> None:
    # 1 and 1 of 2; 1 and 3 of 4.
    scores, mass = tensor([[1.0], [1.0]]), tensor([1.0, 3.0])
    expected = tensor([[0.5, 0.5], [0.25, 0.75]])
    torch.testing.assert_close(multinomial_proportional(scores, mass, 0.0), expected)


def test_exponential_cascade() -> None:
    # Stops at the first with 0.5 * 0.1 * e^(ln 4) = 0.2, at the second with
    # 0.8 * 0.5 * 0.1 * e^(ln 6) = 0.8 * 0.3 = 0.24, else 0.8 * 0.7 = 0.56.
    scores = tensor([[math.log(4), math.log(6)]], dtype=torch.float64)
    expected = tensor([[0.2, 0.24, 0.56]], dtype=torch.float64)
    torch.testing.assert_close(exponential_cascade(scores, 0.5, 0.1), expected)


def test_proportional_cascade() -> None:
    # 0.5 * 0.2 * (1 + 1) = 0.2; 0.8 * 0.5 * 0.2 * (4 + 1) = 0.4; 0.8 * 0.5 = 0.4.
    expected = tensor([[0.2, 0.4, 0.4]])
    actual = proportional_cascade(tensor([[1.0, 4.0]]), -1.0, 0.5, 0.2)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("name", CHOICE_MODELS)
def test_a_model_by_name_is_its_function(name: str) -> None:
    scores = tensor([[0.5, -0.5, 0.1], [0.0, 0.9, -1.0]])
    expected = {
        "multinomial_logit": multinomial_logit(scores, 0.7),
        "multinomial_proportional": multinomial_proportional(scores, 0.7, -1.5),
        "exponential_cascade": exponential_cascade(scores, 0.9, 0.3),
        "proportional_cascade": proportional_cascade(scores, -1.5, 0.9, 0.3),
    }
    actual = ChoiceModel(name, 0.7, -1.5, 0.9, 0.3).probabilities(scores)
    torch.testing.assert_close(actual, expected[name])
    torch.testing.assert_close(actual.sum(dim=1), torch.ones(2))


def test_negative_mass_is_refused() -> None:
    with pytest.raises(ValueError, match="below min_normalizer"):
        multinomial_proportional(tensor([[-1.5]]), 1.0, -1.0)
    with pytest.raises(ValueError, match="lower min_normalizer"):
        proportional_cascade(tensor([[-1.5]]), -1.0, 0.5, 0.1)


def test_stopping_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="lower score_scaling"):
        exponential_cascade(tensor([[1.0]]), 0.5, 0.5)  # 0.5 * e > 1


def test_impossible_models_are_refused() -> None:
    with pytest.raises(ValueError, match="choose one of multinomial_logit"):
        ChoiceModel("logit")
    with pytest.raises(ValueError, match="attention_prob"):
        ChoiceModel("exponential_cascade", attention_prob=1.5)


def test_choose_is_the_inverse_distribution_function() -> None:
    # Cumulative: 0.25, 0.75, 1. A number on a boundary belongs to the next.
    probabilities = tensor([[0.25, 0.5, 0.25]]).expand(6, 3)
    uniform = tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999])
    assert choose(probabilities, uniform).tolist() == [0, 0, 1, 1, 2, 2]
