"""The world of Anyscale's 2022 tutorial, made of Google's long-term satisfaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.modified_long_term_satisfaction import ModifiedLongTermSatisfaction
from envs.recsim.composition import Composition, compose
from envs.recsim.importing import recsim_importable
from envs.recsim.worlds import with_defaults
from envs.recsim.worlds.long_term_satisfaction import OF_WORLDS, UserModel

with recsim_importable():
    from recsim.environments import long_term_satisfaction as google


def composition(parameters: Mapping[str, Any], resample_documents: bool = True) -> Composition:
    """The world with the arguments of the torch world of the same name.

    Args:
        parameters: of the torch world.
        resample_documents: whether candidates are drawn anew at every step.
    """
    arguments = with_defaults(ModifiedLongTermSatisfaction, parameters)
    world = ModifiedLongTermSatisfaction(**arguments)
    of_users = {key: value for key, value in arguments.items() if key not in OF_WORLDS}
    return compose(
        user_model=lambda: UserModel(
            world.slate_size, google.LTSStaticUserSampler(UserState, **of_users)
        ),
        document_sampler=lambda: DocumentSampler(world.num_candidates),
        reward=google.clicked_engagement_reward,
        num_candidates=world.num_candidates,
        slate_size=world.slate_size,
        resample_documents=resample_documents,
        user_feature="time",
        candidate_feature="clickbait_score",
        appeal=(None, "clickbait_score"),
        default_history=world.default_history,
    )


class UserState(google.LTSUserState):
    """A user who starts out satisfied and whose time is observed."""

    def __init__(self, **parameters: Any) -> None:
        """RecSim's parameters, but for the exposure."""
        exposure = ModifiedLongTermSatisfaction.initial_exposure
        super().__init__(**{**parameters, "net_positive_exposure": exposure})
        self._budget = self.time_budget

    def create_observation(self) -> Any:
        """Time, as step / 10 - 0.5."""
        return np.array([(self._budget - self.time_budget) / 10 - 0.5])

    @staticmethod
    def observation_space() -> spaces.Box:
        """Time, from -0.5."""
        return spaces.Box(-0.5, np.inf, (1,), np.float32)


class DocumentSampler(google.LTSDocumentSampler):
    """Sweet documents at even positions, bitter ones at odd positions."""

    def __init__(self, num_candidates: int) -> None:
        """Candidates come in sets of `num_candidates`."""
        super().__init__()
        self._num_candidates = num_candidates

    def sample_document(self) -> Any:
        """A document for the next position."""
        sweet = self._doc_count % self._num_candidates % 2 == 0
        document = super().sample_document()
        document.clickbait_score = 0.2 * document.clickbait_score + (0.8 if sweet else 0.0)
        return document
