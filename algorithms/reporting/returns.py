"""Pictures of returns: over users, and against the same users under another policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from algorithms.comparison.statistics import paired_difference
from algorithms.evaluation import Numbers
from algorithms.reporting.group import Group, Player
from algorithms.reporting.style import (
    GRID,
    HALF,
    INK,
    SOFT,
    Picture,
    above,
    drawing,
    figure_of,
    finish,
    interval,
    share,
    shortened,
    signed,
    tidy,
)

_BINS = 48


def return_pictures(group: Group, prefix: str) -> list[Picture]:
    """The distribution of returns, and differences of the same users; none without users."""
    if not group.players:
        return []
    found = [_distribution(group, prefix)]
    if group.runs and len(group.players) > 1:
        found.append(_differences(group, prefix))
    return found


def _distribution(group: Group, prefix: str) -> Picture:
    players = group.players
    every = np.concatenate([player.result.returns for player in players])
    edges = bin_edges(every)
    said = []
    with drawing(HALF[0], max(HALF[1], 1.3 + 0.66 * len(players))) as figure:
        axes = figure.subplots()
        for row, player in enumerate(players):
            returns, look = player.result.returns, player.look
            counts = np.histogram(returns, edges)[0]
            height = counts / max(1, int(counts.max())) * 0.64
            axes.stairs(height - row, edges, baseline=-row, fill=True, color=look.colour, alpha=0.3)
            axes.stairs(height - row, edges, baseline=-row, color=look.colour, linewidth=1.2)
            middle = float(np.median(returns))
            axes.plot([middle, middle], [-row, 0.66 - row], color=INK, linewidth=1.6)
            above(axes, figure_of(middle), (middle, 0.66 - row), 2)
            low, high = (float(q) for q in np.quantile(returns, [0.05, 0.95]))
            said.append(
                f"{player.label}: median {figure_of(middle)}, nine in ten users between "
                f"{figure_of(low)} and {figure_of(high)}"
            )
        tidy(axes, "Return of each user", "return of a session")
        _rows(axes, players)
        axes.set_ylim(-len(players) + 0.95, 1.0)
        return finish(
            figure,
            f"{prefix}returns",
            f"Distribution of returns over users. {'; '.join(said)}.",
            f"The same {group.users:,} users meet every policy, with the same luck. Each "
            "distribution has a height of its own; the bar is the median.",
        )


def bin_edges(values: Numbers) -> Numbers:
    """Edges of bins for all values but the farthest, which fall into the outer bins' sides.

    Args:
        values: any number of them.
    """
    low, high = np.quantile(values, [0.002, 0.998])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    whole = bool((values == np.round(values)).all())
    if whole and high - low <= _BINS:
        # Counts fall on whole numbers; bins of another width would show stripes.
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    return np.linspace(low, high, _BINS + 1)


def pairs_of(group: Group) -> list[tuple[Player, Player]]:
    """Each run with every baseline, and the later runs with the first one."""
    runs = group.runs
    found = [(run, other) for run in runs for other in group.baselines]
    return found + [(run, runs[0]) for run in runs[1:]]


def better_off(first: Numbers, second: Numbers) -> tuple[float, float]:
    """Shares of users with more by `first`, and with less, (U,) each."""
    return float((first > second).mean()), float((first < second).mean())


def _differences(group: Group, prefix: str) -> Picture:
    pairs, said = pairs_of(group), []
    with drawing(HALF[0], max(HALF[1], 1.3 + 0.5 * len(pairs))) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        for row, (run, other) in enumerate(pairs):
            found = paired_difference(run.result.returns[None], other.result.returns[None])
            each = run.result.returns - other.result.returns
            low, high = np.quantile(each, [0.05, 0.95])
            axes.plot([low, high], [-row, -row], color=GRID, linewidth=9, solid_capstyle="butt")
            axes.plot([found.low, found.high], [-row, -row], color=run.look.colour, linewidth=3)
            axes.plot(found.mean, -row, run.look.mark, color=run.look.colour, markersize=7)
            more, _ = better_off(run.result.returns, other.result.returns)
            above(axes, f"{signed(found.mean)}, {share(more)} of users gain", (found.mean, -row))
            said.append(
                f"{run.label} minus {other.label}: {figure_of(found.mean)} "
                f"{interval(found.low, found.high)}"
            )
        tidy(axes, "Difference for the same users", "return, run minus the other")
        names = [f"{shortened(run.label, 18)}\nminus {shortened(o.label, 18)}" for run, o in pairs]
        axes.set_yticks([-row for row in range(len(pairs))], names, color=INK)
        axes.set_ylim(-len(pairs) + 0.4, 0.6)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.3)
        return finish(
            figure,
            f"{prefix}differences",
            f"Mean difference of return with its 95 % interval. {'; '.join(said)}.",
            "Point and dark bar: the mean and its 95 % interval. Pale bar: the middle nine "
            "tenths of the users' own differences.",
        )


def _rows(axes: Any, players: Sequence[Player]) -> None:
    """The players' names instead of numbers."""
    names = [shortened(player.label, 18) for player in players]
    axes.set_yticks([0.2 - row for row in range(len(players))], names, color=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
