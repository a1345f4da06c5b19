"""RecSim's choice models by name, able to run on today's numpy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from envs.choice import ChoiceModel
from envs.recsim.importing import recsim_importable

with recsim_importable():
    from recsim import choice_model as google


class ProportionalCascade(google.ProportionalCascadeChoiceModel):
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
    "multinomial_logit": google.MultinomialLogitChoiceModel,
    "multinomial_proportional": google.MultinomialProportionalChoiceModel,
    "exponential_cascade": google.ExponentialCascadeChoiceModel,
    "proportional_cascade": ProportionalCascade,
}


def choice_features(choice: ChoiceModel) -> dict[str, float]:
    """The parameters as RecSim's models want them."""
    return {key: value for key, value in asdict(choice).items() if key != "name"}


def google_choice_model(choice: ChoiceModel) -> Any:
    """RecSim's choice model with all parameters of `choice`."""
    return GOOGLE_CHOICE_MODELS[choice.name](choice_features(choice))
