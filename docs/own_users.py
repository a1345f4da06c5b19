"""Readers who lose patience, in RecSim's classes; docs/own_users.md says how to train on them."""

import numpy as np
from gymnasium import spaces
from recsim import document, user
from recsim.environments.long_term_satisfaction import LTSResponse, clicked_engagement_reward

from envs.recsim import compose


class Article(document.AbstractDocument):
    def create_observation(self):
        return {"topic": self.doc_id() % 4}  # any id will do, if no two are equal

    def observation_space(self):
        return spaces.Dict({"topic": spaces.Discrete(4)})


class ArticleSampler(document.AbstractDocumentSampler):
    def sample_document(self):
        return Article(self._rng.randint(2**62))  # samplers draw from self._rng


class Reader(user.AbstractUserState):
    def __init__(self, taste):
        self.taste, self.patience = taste, 5  # taste is hidden, patience is observed

    def create_observation(self):
        return self.patience

    def observation_space(self):
        return spaces.Box(0.0, 5.0, ())


class ReaderSampler(user.AbstractUserSampler):
    def sample_user(self):
        return Reader(self._rng.uniform(0.2, 0.8, 4))


class ReaderModel(user.AbstractUserModel):
    def simulate_response(self, articles):
        taste = [self._user_state.taste[article.doc_id() % 4] for article in articles]
        likes = np.random.rand(len(articles)) < taste  # all else draws from np.random
        return [LTSResponse(like and not likes[:i].any(), 1.0) for i, like in enumerate(likes)]

    def update_state(self, articles, responses):
        self._user_state.patience -= not any(response.clicked for response in responses)

    def is_terminal(self):
        return self._user_state.patience <= 0


def readers(num_candidates=10, slate_size=2):
    def model():
        return ReaderModel(LTSResponse, ReaderSampler(Reader), slate_size)

    def documents():
        return ArticleSampler(Article)

    return compose(model, documents, clicked_engagement_reward, num_candidates, slate_size)
