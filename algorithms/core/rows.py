"""What value learning reads of a fragment beside the steps themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.core.fragment import Fragment


def next_values(fragment: Fragment) -> Tensor:
    """V of each next observation of the same session, (T, B); from the extras called `value`.

    Of the final observation where the time limit ended the session; a new
    user's, and not to be read, where the user has left.
    """
    values = torch.cat([fragment.extra("value")[1:], fragment.last_extras["value"][None]])
    for step, extras in enumerate(fragment.final_extras):
        if extras:
            values[step, fragment.steps[step].transition.finished] = extras["value"]
    return values


def of_candidates(fragment: Fragment, positions: Tensor) -> Tensor:
    """Features of some candidates, (T * B, ..., D), by their positions, (T, B, ...) int64."""
    _, num_users, *more = positions.shape
    width = fragment.last.candidates.shape[1]
    first = torch.arange(0, num_users * width, width, device=positions.device)
    rows = positions + first.view(-1, *[1] * len(more))
    # Rows of a flat table, which torch copies several times faster than by two indices.
    found = [
        step.observation.candidates.flatten(0, 1).index_select(0, wanted.flatten())
        for step, wanted in zip(fragment.steps, rows, strict=True)
    ]
    return torch.cat(found).view(-1, *more, found[0].shape[1])


def followed(fragment: Fragment) -> dict[str, Tensor]:
    """The next observation of the same session, (T * B, ...) each, as `next_user` and so on.

    The final observation where the time limit ended the session; a new user's,
    and not to be read, where the user has left.
    """
    following = [step.observation for step in fragment.steps[1:]] + [fragment.last]
    columns = {}
    for name in ("user", "history", "candidates", "mask"):
        parts = []
        for step, observation in zip(fragment.steps, following, strict=True):
            part, transition = getattr(observation, name), step.transition
            if bool(transition.truncated.any()):
                part = part.clone()
                part[transition.finished] = getattr(transition.final, name)
            parts.append(part)
        columns[f"next_{name}"] = torch.cat(parts)
    return columns
