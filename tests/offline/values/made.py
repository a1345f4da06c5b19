"""Small logs of our worlds for value learners, without a disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from algorithms.evaluation import steps_of_sessions
from algorithms.policy import baseline
from envs.registry import make_simulator
from offline.log import Rows
from offline.playing import Acting, Step
from offline.recording import rows_of


def played(world: str, users: int = 6, **arguments: Any) -> tuple[Any, Rows]:
    """A simulator, and rows of whole sessions of random slates in its world."""
    simulator = make_simulator(world, users, seed=0, replace=False, **arguments)
    policy = baseline("random", simulator.spec, simulator.history, simulator.slate_size)
    steps, playing = [], []
    with torch.no_grad():
        for seen in steps_of_sessions(policy, simulator, 0, 0, explore=True):
            shown = seen.recommended
            log_probs, distribution = shown.slot_log_probs, shown.distribution
            steps.append(
                Step(seen.observation, shown.slates, log_probs, {}, seen.transition, distribution)
            )
            playing.append(seen.playing.numpy())
    kept = np.stack(playing)
    names = np.broadcast_to(np.array([f"s{n}" for n in range(users)], object), kept.shape)
    numbers = np.broadcast_to(np.arange(len(steps))[:, None], kept.shape)
    return simulator, rows_of(steps, kept, names, numbers, Acting("random", "0", ""))
