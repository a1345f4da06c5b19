"""Readers who tire of topics, in RecSim's classes; `env.name: "docs.own_users:readers"`."""
# ruff: noqa: D101, D102

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from recsim import document, user
from recsim.environments.long_term_satisfaction import LTSResponse, clicked_engagement_reward

from envs.recsim import compose


class Article(document.AbstractDocument):
    def __init__(self, doc_id, topic):
        super().__init__(doc_id)
        self.topic = topic

    def create_observation(self):
        return {"topic": self.topic}

    def observation_space(self):
        return spaces.Dict({"topic": spaces.Discrete(4)})


class ArticleSampler(document.AbstractDocumentSampler):
    def sample_document(self):
        self.count = getattr(self, "count", 0) + 1
        return Article(self.count, self._rng.randint(4))  # samplers draw from self._rng


@dataclass
class Reader(user.AbstractUserState):
    patience: int
    taste: np.ndarray

    def create_observation(self):
        return self.patience

    def observation_space(self):
        return spaces.Box(0.0, 5.0, ())


class ReaderSampler(user.AbstractUserSampler):
    def sample_user(self):
        return Reader(5, self._rng.uniform(0.2, 0.8, 4))


class ReaderModel(user.AbstractUserModel):
    def simulate_response(self, articles):
        taste = [self._user_state.taste[article.topic] for article in articles]
        clicks = np.random.rand(len(articles)) < taste  # everything else from np.random
        return [LTSResponse(c and not clicks[:i].any(), 1.0) for i, c in enumerate(clicks)]

    def update_state(self, articles, responses):
        clicked = [a.topic for a, r in zip(articles, responses, strict=True) if r.clicked]
        self._user_state.taste[clicked] *= 0.7
        self._user_state.patience -= not clicked

    def is_terminal(self):
        return self._user_state.patience <= 0


def readers(num_candidates=10, slate_size=2):
    """The world: its arguments are those of `env` in a config."""
    return compose(
        lambda: ReaderModel(LTSResponse, ReaderSampler(Reader), slate_size),
        lambda: ArticleSampler(Article),
        clicked_engagement_reward,
        num_candidates,
        slate_size,
    )
