from __future__ import annotations

import pytest
import torch

from algorithms.bandits import ALGORITHMS, BanditAgent
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec, identifier, number, one_hot, vector

BANDITS = {entry.name: entry for entry in ALGORITHMS}


@pytest.fixture
def spec() -> FeatureSpec:
    """Two user columns; three topics, a price and, if anybody asks, one of five authors."""
    return FeatureSpec(
        user=(vector("taste", 2), number("hour")),
        candidate=(one_hot("topic", 3), number("price"), identifier("author", 5)),
        response=(number("click", 0, 1),),
    )


@pytest.fixture
def make_bandit(spec: FeatureSpec):
    """Builds a bandit that only the seed decides."""

    def build(name: str, *, features: FeatureSpec = spec, slots: int = 1, seed: int = 0, **own):
        torch.manual_seed(seed)
        entry = BANDITS[name]
        agent = entry.agent(
            features, History(features, ()), slots, entry.settings(**own).model_dump()
        )
        assert isinstance(agent, BanditAgent)
        return agent

    return build


@pytest.fixture
def items():
    """Items by topic (-1 is none of them), price and author."""

    def build(topics: list[int], price: float = 0.0, author: int = -1) -> torch.Tensor:
        rows = torch.zeros(len(topics), 5)
        for row, topic in enumerate(topics):
            if topic >= 0:
                rows[row, topic] = 1.0
        rows[:, 3], rows[:, 4] = price, author
        return rows

    return build


@pytest.fixture
def observe():
    """An observation of one user to whom items (N, D) are offered."""

    def build(items: torch.Tensor, user: tuple[float, ...] = (0.0, 0.0, 0.0), eligible=None):
        mask = torch.ones(1, len(items), dtype=torch.bool)
        if eligible is not None:
            mask = torch.tensor([eligible])
        empty = torch.zeros(1, 1)
        return Observation(torch.tensor([user]), items[None], mask, empty, empty, empty[:, :0])

    return build
