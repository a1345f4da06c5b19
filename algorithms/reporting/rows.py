"""Pictures with a row a policy, and over which steps anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from algorithms.reporting.group import Player
from algorithms.reporting.playing import Array
from algorithms.reporting.style import HALF, INK, above, shortened, tidy

_FEWEST_USERS = 0.1
"""Steps that fewer than this share of the users reach are not drawn: a few say little."""


def drawn_steps(playing: Array) -> int:
    """How many first steps a large enough share of users reaches, playing (T, U)."""
    enough = playing.mean(axis=1) >= _FEWEST_USERS
    return max(1, int(enough.sum()))


def put_row(axes: Axes, row: int, player: Player, values: Array, middle: float, words: str) -> None:
    """A mark with words, and a bar that holds nine in ten of the values."""
    low, high = (float(q) for q in np.quantile(values, [0.05, 0.95]))
    axes.plot([low, high], [-row, -row], color=player.look.colour, linewidth=2)
    axes.plot(middle, -row, player.look.mark, color=player.look.colour, markersize=8)
    above(axes, words, (middle, -row))


def name_rows(axes: Axes, title: str, below: str, rows: Sequence[tuple[str, Player]]) -> None:
    """Labels of the rows instead of numbers, and everything around them."""
    tidy(axes, title, below)
    names = [shortened(label, 18) for label, _ in rows]
    axes.set_yticks([-row for row in range(len(names))], names, color=INK)
    axes.set_ylim(-len(names) + 0.4, 0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def height(rows: Sequence[Any]) -> float:
    """Inches that so many rows need."""
    return max(HALF[1], 1.3 + 0.42 * len(rows))
