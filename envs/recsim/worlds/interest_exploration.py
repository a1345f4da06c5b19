"""Google's interest exploration, with its faults put right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.choice import ChoiceModel
from envs.interest_exploration import InterestExploration
from envs.recsim.choice import google_choice_model
from envs.recsim.composition import Composition, compose
from envs.recsim.importing import recsim_importable
from envs.recsim.worlds import with_defaults

with recsim_importable():
    from recsim import user as google_user
    from recsim.environments import interest_exploration as google

_OF_USERS = (
    "user_type_distribution",
    "user_document_mean_affinity_matrix",
    "user_document_stddev_affinity_matrix",
)
_OF_DOCUMENTS = ("topic_distribution", "topic_quality_mean", "topic_quality_stddev")


def composition(parameters: Mapping[str, Any], resample_documents: bool = True) -> Composition:
    """The world with the arguments of `envs.interest_exploration.InterestExploration`.

    Args:
        parameters: of the torch world.
        resample_documents: whether candidates are drawn anew at every step.
    """
    arguments = with_defaults(InterestExploration, parameters)
    world = InterestExploration(**arguments)
    documents = Documents(world.num_topics)
    users = {name: arguments[name] for name in _OF_USERS}
    topics = {name: arguments[name] for name in _OF_DOCUMENTS}
    return compose(
        user_model=lambda: UserModel(
            world.slate_size,
            world.choice,
            google.IEClusterUserSampler(user_ctor=google.IEUserState, **users),
            Responses(world.num_topics),
        ),
        document_sampler=lambda: google.IETopicDocumentSampler(doc_ctor=documents, **topics),
        reward=google.total_clicks_reward,
        num_candidates=world.num_candidates,
        slate_size=world.slate_size,
        resample_documents=resample_documents,
        time_limit=world.time_limit,
        appeal=(None, "quality"),
        default_history=world.default_history,
    )


class UserModel(google.IEUserModel):
    """RecSim's user model, whose choice model gets all its parameters."""

    def __init__(
        self, slate_size: int, choice: ChoiceModel, sampler: Any, responses: Responses
    ) -> None:
        """A user drawn by `sampler`."""
        google_user.AbstractUserModel.__init__(self, responses, sampler, slate_size)
        self.choice_model = google_choice_model(choice)


@dataclass(frozen=True)
class Documents:
    """Makes documents of a number of topics, which RecSim keeps in a class attribute."""

    num_topics: int

    def __call__(self, **features: Any) -> Document:
        """A document."""
        return Document(self.num_topics, **features)


class Document(google.IEDocument):
    """RecSim's document, whose space follows its own number of topics."""

    def __init__(self, num_topics: int, **features: Any) -> None:
        """A document of one of `num_topics` topics."""
        super().__init__(**features)
        self.num_topics = num_topics

    def observation_space(self) -> spaces.Dict:
        """Topic and quality."""
        return spaces.Dict(_entries(self.num_topics))


@dataclass(frozen=True)
class Responses:
    """Makes responses whose space follows the number of topics."""

    num_topics: int

    def __call__(self) -> Any:
        """The response to a document that is not clicked."""
        return google.IEResponse()

    def response_space(self) -> spaces.Dict:
        """Click, topic and quality."""
        return spaces.Dict({"click": spaces.Discrete(2), **_entries(self.num_topics)})


def _entries(num_topics: int) -> dict[str, spaces.Space[Any]]:
    return {
        "cluster_id": spaces.Discrete(num_topics),
        "quality": spaces.Box(0.0, np.inf, (), np.float32),
    }
