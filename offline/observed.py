"""Rows of the log as what an agent saw, and as what its slates were drawn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from envs.simulator import Observation
from offline.log import LogError, Rows
from offline.log.rows import Array

SEEN = (
    "session_id",
    "step",
    "user",
    "candidates",
    "mask",
    "history",
    "response",
    "terminated",
    "truncated",
)
"""Columns that `observation` needs."""

STATED = ("slate", "mask", "pinned", "log_weights", "epsilon", "temperature", "greedy")
"""Columns that `distributions` needs."""


def observation(rows: Rows) -> Observation:
    """What was observed before each slate.

    Args:
        rows: whole sessions, from `Log.sessions`: the response to the previous slate
            stands in the row before.

    Raises:
        LogError: a row does not follow its session's previous step.
    """
    step, session = rows["step"], rows["session_id"]
    follows = step > 0
    if len(rows) and (
        follows[0]
        or (follows[1:] & ((step[1:] != step[:-1] + 1) | (session[1:] != session[:-1]))).any()
    ):
        raise LogError("these rows are no whole sessions; read them with Log.sessions")
    given = torch.from_numpy(rows["response"])
    response = torch.zeros_like(given)
    there = torch.from_numpy(follows)
    response[1:] = given[:-1] * there[1:, None, None]
    tensors = rows.tensors(("user", "candidates", "mask", "history"))
    return Observation(
        tensors["user"],
        tensors["candidates"],
        tensors["mask"],
        response,
        there[:, None].to(given.dtype),
        tensors["history"],
    )


def distributions(rows: Rows) -> Iterator[tuple[Array, SlateDistribution]]:
    """The logged slate distributions, which hold one epsilon and temperature each.

    Yields:
        Numbers of rows, (b,), and their distribution, (b, ...).

    Raises:
        LogError: a row was logged without one.
    """
    epsilon, temperature = rows["epsilon"], rows["temperature"]
    if np.isnan(epsilon).any() or np.isnan(temperature).any():
        raise LogError("rows were logged without the distribution that their slates come from")
    slots = (rows["slate"] >= 0).sum(axis=1)
    ranked = (rows["greedy"] < 0).all(axis=1)
    kinds = np.stack([epsilon, temperature, slots, ranked], axis=1)
    for kind in np.unique(kinds, axis=0):
        index = np.flatnonzero((kinds == kind).all(axis=1))
        size = int(kind[2])

        def of(name: str, index: Array = index, size: int = size) -> Tensor:
            return torch.from_numpy(rows[name][index][:, :size])

        pinned = of("pinned")
        yield (
            index,
            SlateDistribution(
                torch.from_numpy(rows["log_weights"][index]),
                torch.from_numpy(rows["mask"][index]),
                size,
                float(kind[0]),
                float(kind[1]),
                None if kind[3] else of("greedy"),
                pinned if (pinned >= 0).any() else None,
            ),
        )
