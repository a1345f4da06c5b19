"""Pictures of how runs learned: returns beside the baselines, and what else tells of learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, PercentFormatter

from algorithms.evaluation import Numbers
from algorithms.metrics import STEPS
from algorithms.reporting.group import Group
from algorithms.reporting.source import Rows, Source
from algorithms.reporting.style import (
    INK,
    Look,
    Picture,
    drawing,
    figure_of,
    finish,
    legend,
    shortened,
    thinned,
    tidy,
)

UPDATES = "updates"
_MOST = 4
_LOG_FROM = 10.0
_ROOM = 1.5
"""Baselines farther from the curves than this many heights of theirs are not drawn."""


@dataclass(frozen=True)
class Measure:
    """A column that is worth a picture.

    Attributes:
        title: of the picture.
        columns: of `metrics.csv`; of each run the first that it has.
        share: whether it is a share, drawn in per cent.
        wide_range: whether it may fall by orders of magnitude, drawn by its logarithm then.
    """

    title: str
    columns: tuple[str, ...]
    share: bool = False
    wide_range: bool = False


MEASURES = (
    Measure("Clicks a step while training", ("click_per_step",), share=True),
    Measure("Slates that explore", ("non_greedy_per_step",), share=True),
    Measure("Entropy of the policy, nats", ("learner/entropy", "learner/entropy_estimate")),
    Measure("What values are taken to be", ("learner/value", "learner/mean_feedback")),
    Measure("Norm of the estimated weights", ("learner/theta_norm",)),
    Measure("Loss", ("learner/loss", "learner/td_loss"), wide_range=True),
)
"""Besides returns; those that say something come into the report, the first ones first."""


def learning_pictures(group: Group, prefix: str) -> list[Picture]:
    """Returns over steps for runs that play, losses over updates for runs that read a log."""
    playing = [source for source in group.sources if _has(source.rows, "return_mean", STEPS)]
    reading = [source for source in group.sources if _has(source.rows, "learner/loss", UPDATES)]
    reading = [source for source in reading if source not in playing]
    found: list[Picture] = []
    if playing:
        found.append(_returns(group, playing, prefix))
        found += [
            _measure(group, playing, measure, f"{prefix}learning-{place}")
            for place, measure in enumerate(MEASURES)
            if any(_varies(source.rows, measure) for source in playing)
        ]
    if reading:
        found.append(_losses(group, reading, prefix))
    return found[:_MOST]


def _returns(group: Group, sources: Sequence[Source], prefix: str) -> Picture:
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for source in sources:
            look = group.looks[source.label]
            steps, values = series(source.rows, STEPS, "return_mean")
            part = thinned(steps)
            line = look.line(len(steps))
            axes.plot(steps[part], values[part], **line, label=shortened(source.label))
            _evaluations(axes, source.rows, look)
            said.append(f"{source.label} ends at {figure_of(float(values[-1]))}")
            if source.result is not None:
                _end(axes, source, look)
        for player in group.baselines:
            mean = player.result.mean_return.mean
            _level(axes, mean, player.label, player.look)
            said.append(f"{player.label} earns {figure_of(mean)}")
        tidy(axes, "Return of a session while training", "user-steps")
        _steps(axes)
        legend(axes)
        return finish(
            figure,
            f"{prefix}learning",
            f"Learning curves, return of a session over user-steps: {'; '.join(said)}.",
            "Lines are the sessions played in training, with their exploration; points with bars "
            "are evaluations with 95 % intervals, the large one that at the end; level lines are "
            "policies that learn nothing.",
        )


def _level(axes: Axes, mean: float, label: str, look: Look) -> None:
    """A baseline's line; only in words where it would squeeze the curves."""
    low, high = axes.dataLim.intervaly
    room = _ROOM * max(high - low, 1e-9)
    if low - room <= mean <= high + room:
        axes.axhline(mean, **{**look.line(), "linewidth": 1.3}, label=label)
    else:
        where = "below" if mean < low else "above"
        axes.plot([], [], linestyle="none", label=f"{label} {figure_of(mean)}, far {where}")


def _evaluations(axes: Axes, rows: Rows, look: Look) -> None:
    steps, means = series(rows, STEPS, "eval_return")
    if not len(steps):
        return
    ends = [series(rows, STEPS, name)[1] for name in ("eval_low", "eval_high")]
    bars = np.abs(np.stack(ends) - means) if all(len(e) == len(means) for e in ends) else None
    axes.errorbar(
        steps, means, yerr=bars, fmt=look.mark, color=look.colour, markersize=4.5, capsize=2.5
    )


def _end(axes: Axes, source: Source, look: Look) -> None:
    result = source.result or {}
    mean, ends = result["return_mean"], result["return_ci95"]
    steps = result.get(STEPS)
    if mean is None or steps is None:
        return
    bars = [[mean - ends[0]], [ends[1] - mean]] if ends else None
    axes.errorbar(
        [steps],
        [mean],
        yerr=bars,
        fmt=look.mark,
        color=look.colour,
        markeredgecolor=INK,
        markersize=8,
        capsize=4,
        zorder=5,
    )


def _measure(group: Group, sources: Sequence[Source], measure: Measure, name: str) -> Picture:
    said, lowest, highest = [], math.inf, -math.inf
    with drawing() as figure:
        axes = figure.subplots()
        for source in sources:
            steps, values = series(source.rows, STEPS, _column(source.rows, measure))
            if not len(steps):
                continue
            lowest = min(lowest, float(values.min()))
            highest = max(highest, float(values.max()))
            part, look = thinned(steps), group.looks[source.label]
            line = look.line(len(steps))
            axes.plot(steps[part], values[part], **line, label=shortened(source.label))
            ends = [figure_of(float(value)) for value in (values[0], values[-1])]
            said.append(f"{source.label} goes from {ends[0]} to {ends[1]}")
        tidy(axes, measure.title, "user-steps")
        _steps(axes)
        if measure.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylim(bottom=0)
        elif measure.wide_range and lowest > 0 and highest > _LOG_FROM * lowest:
            axes.set_yscale("log")
        if len(sources) > 1:
            legend(axes)
        return finish(figure, name, f"{measure.title} over user-steps: {'; '.join(said)}.")


def _losses(group: Group, sources: Sequence[Source], prefix: str) -> Picture:
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for source in sources:
            look = group.looks[source.label]
            for column, what in (("learner/loss", "learned from"), ("held_out/loss", "held out")):
                updates, losses = series(source.rows, UPDATES, column)
                if not len(updates):
                    continue
                part, held = thinned(updates), column.startswith("held")
                style = look.line(0 if held else len(updates))
                style["linestyle"] = ":" if held else look.dashes
                label = f"{shortened(source.label)}, {what}"
                axes.plot(updates[part], losses[part], **style, label=label)
                said.append(f"{source.label}, {what}, ends at {figure_of(float(losses[-1]))}")
        tidy(axes, "Loss while learning from a log", "updates")
        _steps(axes)
        legend(axes)
        return finish(
            figure,
            f"{prefix}losses",
            f"Losses over updates: {'; '.join(said)}.",
            "The loss on sessions that were held out tells when a learner begins to know its log "
            "by heart.",
        )


def series(rows: Rows, along: str, column: str) -> tuple[Numbers, Numbers]:
    """Both columns, where both are numbers."""
    pairs = [(row.get(along, math.nan), row.get(column, math.nan)) for row in rows]
    kept = np.array([pair for pair in pairs if all(map(math.isfinite, pair))]).reshape(-1, 2)
    return kept[:, 0], kept[:, 1]


def _has(rows: Rows, column: str, along: str) -> bool:
    return len(series(rows, along, column)[0]) > 0


def _column(rows: Rows, measure: Measure) -> str:
    return next((name for name in measure.columns if _has(rows, name, STEPS)), measure.columns[0])


def _varies(rows: Rows, measure: Measure) -> bool:
    values = series(rows, STEPS, _column(rows, measure))[1]
    return len(values) > 1 and float(np.ptp(values)) > 0


def _steps(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
