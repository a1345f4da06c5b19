from __future__ import annotations

import pytest
import torch

from algorithms.slateq import SlateQAgent, SlateQSettings
from envs.registry import make_simulator
from envs.simulator import Simulator


@pytest.fixture
def simulator() -> Simulator:
    return make_simulator("interest_evolution", 8, seed=3)


@pytest.fixture
def make_agent(simulator: Simulator):
    """Builds a SlateQ agent with weights that only the seed decides."""

    def build(seed: int = 0, **settings: object) -> SlateQAgent:
        torch.manual_seed(seed)
        options = SlateQSettings(**{"hidden": (16,), **settings})
        return SlateQAgent(
            simulator.spec, simulator.history, simulator.slate_size, options.model_dump()
        )

    return build
