"""RecSim's choice models by name: able to run on today's numpy, faster, with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from envs.choice import ChoiceModel
from envs.recsim.importing import recsim_importable
from envs.recsim.layout import Rows

with recsim_importable():
    from recsim import choice_model as google


class _Quick(google.NormalizableChoiceModel):
    """RecSim's scoring and drawing with fewer numpy calls; scores and choices stay the same."""

    @staticmethod
    def _score_documents_helper(user_state: Any, doc_obs: Sequence[Any]) -> Rows:
        return np.array([user_state.score_document(document) for document in doc_obs], np.float64)

    def choose_item(self) -> int | None:
        """The position of the clicked document, or `None`; one draw, as in `np.random.choice`."""
        masses = np.array([*self._scores, self._score_no_click])
        total = masses.sum()
        if not total > 0:
            chosen: int | None = super().choose_item()  # which says what is wrong
            return chosen
        cumulative = (masses / total).cumsum()
        cumulative /= cumulative[-1]
        position = int(cumulative.searchsorted(np.random.random_sample(), side="right"))
        return None if position == len(masses) - 1 else position


class MultinomialLogit(_Quick, google.MultinomialLogitChoiceModel):
    """RecSim's."""


class MultinomialProportional(_Quick, google.MultinomialProportionalChoiceModel):
    """RecSim's."""


class ExponentialCascade(_Quick, google.ExponentialCascadeChoiceModel):
    """RecSim's."""


class ProportionalCascade(_Quick, google.ProportionalCascadeChoiceModel):
    """RecSim's, which asserts on a whole array and so refuses every slate of two or more."""

    def score_documents(self, user_state: Any, doc_obs: Any) -> None:
        """Set the probability of each click and of none."""
        scores = self._score_documents_helper(user_state, doc_obs) - self._min_normalizer
        if (scores < 0.0).any():
            raise ValueError(
                f"a score lies {-scores.min():g} below min_normalizer ({self._min_normalizer}), "
                "which gives a negative probability; lower min_normalizer"
            )
        self._positional_normalization(scores)


GOOGLE_CHOICE_MODELS: dict[str, Any] = {
    "multinomial_logit": MultinomialLogit,
    "multinomial_proportional": MultinomialProportional,
    "exponential_cascade": ExponentialCascade,
    "proportional_cascade": ProportionalCascade,
}


@cache
def choice_features(choice: ChoiceModel) -> Mapping[str, float]:
    """The parameters as RecSim's models want them."""
    return {key: value for key, value in asdict(choice).items() if key != "name"}


def google_choice_model(choice: ChoiceModel) -> Any:
    """RecSim's choice model with all parameters of `choice`."""
    return GOOGLE_CHOICE_MODELS[choice.name](choice_features(choice))
