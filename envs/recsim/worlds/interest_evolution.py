"""Google's interest evolution, with its faults put right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.choice import ChoiceModel
from envs.interest_evolution import InterestEvolution
from envs.recsim.choice import choice_features, google_choice_model
from envs.recsim.composition import Composition, compose
from envs.recsim.importing import recsim_importable
from envs.recsim.worlds import with_defaults

with recsim_importable():
    from recsim.environments import interest_evolution as google


def composition(
    parameters: Mapping[str, Any], resample_documents: bool = True, dense_features: bool = False
) -> Composition:
    """The world with the arguments of `envs.interest_evolution.InterestEvolution`.

    Args:
        parameters: of the torch world.
        resample_documents: whether candidates are drawn anew at every step.
        dense_features: draw documents by RecSim's `IEvVideoSampler`, with all
            features uniform on [-1, 1], instead of one-hot topics; the choice
            model's min_normalizer and score_scaling then default to what such
            scores allow.
    """
    world = InterestEvolution(**with_defaults(InterestEvolution, parameters))
    if world.full_information:
        raise ValueError(
            "full_information is true, but Google's code does not show what is hidden; "
            "use the torch backend"
        )
    choice = _for_dense(world, parameters) if dense_features else world.choice
    users = UserStates(world.num_topics, world.time_budget, choice)
    videos = Videos(world.num_topics)
    responses = Responses(world.num_topics, world.show_quality)
    sampler = google.IEvVideoSampler if dense_features else VideoSampler
    return compose(
        user_model=lambda: UserModel(world.slate_size, choice, users, responses),
        document_sampler=lambda: sampler(doc_ctor=videos),
        reward=google.clicked_watchtime_reward,
        num_candidates=world.num_candidates,
        slate_size=world.slate_size,
        resample_documents=resample_documents,
        user_feature="interests",
        appeal=("interests", "features"),
        default_history=world.default_history,
    )


def _for_dense(world: InterestEvolution, parameters: Mapping[str, Any]) -> ChoiceModel:
    """Dense features score from -topics to topics, where one-hot ones keep to [-1, 1]."""
    choice, topics = world.choice, world.num_topics
    if "min_normalizer" not in parameters:
        choice = replace(choice, min_normalizer=-float(topics))
    if "score_scaling" not in parameters:
        exponential = choice.name == "exponential_cascade"
        factor = math.exp(1 - topics) if exponential else 1 / topics
        choice = replace(choice, score_scaling=choice.score_scaling * factor)
    return choice


@dataclass(frozen=True)
class Videos:
    """Makes videos of a number of topics, which RecSim keeps in a class attribute."""

    NUM_FEATURES: int
    MAX_VIDEO_LENGTH: float = google.IEvVideo.MAX_VIDEO_LENGTH

    def __call__(self, **features: Any) -> Video:
        """A dense video: its strongest feature is the topic it lacks, its length positive."""
        features["cluster_id"] = int(np.argmax(features["features"]))
        features["video_length"] = max(0.0, features["video_length"])
        return Video(**features)


class Video(google.IEvVideo):
    """RecSim's video, whose space follows its own number of features."""

    def observation_space(self) -> spaces.Box:
        """Features in [-1, 1]."""
        return spaces.Box(-1.0, 1.0, (len(self.features),), np.float32)


class VideoSampler(google.UtilityModelVideoSampler):
    """RecSim's sampler, which loses a topic where 70 and 30 % of them are not whole."""

    def __init__(self, doc_ctor: Videos) -> None:
        """Mean qualities for every topic: the good side gets what rounding lost."""
        super().__init__(doc_ctor=doc_ctor)
        self.cluster_means = _mean_qualities(doc_ctor.NUM_FEATURES)

    def sample_document(self) -> Video:
        """RecSim's draws, without the dictionary it makes for each video."""
        topic, features = self._rng.randint(0, self._num_clusters), np.zeros(self._num_clusters)
        features[topic] = 1.0
        quality = self._rng.normal(self.cluster_means[topic], 0.1)
        self._doc_count += 1
        return Video(self._doc_count - 1, features, topic, self._video_length, quality)

    @property
    def num_clusters(self) -> int:
        """The number of topics."""
        return int(self._num_clusters)


@cache
def _mean_qualities(topics: int) -> tuple[float, ...]:
    bad = int(topics * 0.7)
    return (*np.linspace(-3, 0, bad).tolist(), *np.linspace(0, 3, topics - bad).tolist())


@dataclass(frozen=True)
class UserStates:
    """Makes users; RecSim keeps the number of topics in a class and the budget in code."""

    NUM_FEATURES: int
    time_budget: float
    choice: ChoiceModel

    def __call__(self, **features: Any) -> UserState:
        """A user with this budget and these parameters of choice."""
        return UserState(
            **{**features, **choice_features(self.choice), "time_budget": self.time_budget}
        )


class UserState(google.IEvUserState):
    """RecSim's user, whose observation is not changed by what happens next."""

    def observation_space(self) -> spaces.Box:
        """Interests in [-1, 1]."""
        return spaces.Box(-1.0, 1.0, self.user_interests.shape, np.float32)

    def create_observation(self) -> Any:
        """A copy, because RecSim updates interests in place."""
        return self.user_interests.copy()


class UserModel(google.IEvUserModel):
    """RecSim's user model with any of its choice models."""

    def __init__(
        self, slate_size: int, choice: ChoiceModel, users: UserStates, responses: Responses
    ) -> None:
        """One user of these constructors."""
        super().__init__(
            slate_size,
            choice_model_ctor=lambda features: google_choice_model(choice),
            response_model_ctor=responses,
            user_state_ctor=users,
        )


@dataclass(frozen=True)
class Responses:
    """Makes responses whose space follows the number of topics."""

    num_topics: int
    show_quality: bool

    def __call__(self) -> Any:
        """The response to a document that is not clicked."""
        return google.IEvResponse() if self.show_quality else SilentResponse()

    def response_space(self) -> spaces.Dict:
        """RecSim's, with this number of topics, with or without the quality."""
        entries = {
            **google.IEvResponse.response_space().spaces,
            "cluster_id": spaces.Discrete(self.num_topics),
        }
        if not self.show_quality:
            del entries["quality"]
        return spaces.Dict(entries)


class SilentResponse(google.IEvResponse):
    """RecSim's response, which keeps the quality to itself."""

    def create_observation(self) -> dict[str, Any]:
        """What the recommender sees of it."""
        seen: dict[str, Any] = super().create_observation()
        del seen["quality"]
        return seen
