"""The picture of a comparison: for each environment its curves and final returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from algorithms.comparison.plan import Comparison
from algorithms.comparison.report import METRICS, Line, cumulative_reward
from algorithms.comparison.statistics import band
from algorithms.comparison.table import number
from algorithms.evaluation import Numbers
from algorithms.metrics import STEPS, read_rows

Rows = Sequence[Mapping[str, float]]
Style = dict[str, Any]

# Okabe and Ito's colours, told apart with any colour vision; yellow is too pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
_BASELINE_COLOUR = "#666666"
_BASELINE_DASHES = ((0, (6, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_LOG_FROM = 8.0
"""Ratio of budgets from which steps stand on a logarithmic axis."""

CONVERGENCE = {
    "learner/value": "mean predicted value",
    "learner/theta_norm": "norm of the estimated weights",
    "learner/mean_feedback": "mean feedback so far",
}
"""Columns that tell what a learner takes values to be; a panel shows the first that a run has."""


def column(name: str) -> Callable[[Rows], Numbers]:
    """Reads a column of `metrics.csv`; all NaN where a run has none."""
    return lambda rows: np.array([row.get(name, np.nan) for row in rows])


def convergence(
    runs: Iterable[Sequence[Rows]],
) -> tuple[str, Callable[[Rows], Numbers]]:
    """Title of the panel of values, and what it reads: the first column that any run has."""
    found = {name for seeds in runs for rows in seeds for name in rows[0]}
    name = next((name for name in CONVERGENCE if name in found), "learner/value")
    return CONVERGENCE[name], column(name)


PANELS: dict[str, tuple[str, Callable[[Rows], Numbers]]] = {
    "learning": ("return of the sessions played in training", column("return_mean")),
    "reward": ("cumulative reward of all users", cumulative_reward),
    "click": ("click rate", column("click_per_step")),
    "exploration": ("share of slates that explore", column("non_greedy_per_step")),
}
"""Title of each panel of curves, and what it reads from `metrics.csv`."""

_LAYOUT: list[Any] = [
    ["learning", "learning", "reward", "returns"],
    ["click", "exploration", "values", "returns"],
]


def draw(comparison: Comparison, lines: Sequence[Line], folder: Path) -> None:
    """Write `compare.png` of the runs in the folder."""
    figure = picture(comparison, lines, folder / "runs")
    partial = folder / ".compare.partial.png"
    try:
        figure.savefig(partial, dpi=110)
    finally:
        pyplot.close(figure)
    partial.replace(folder / "compare.png")


def picture(comparison: Comparison, lines: Sequence[Line], runs: Path) -> Figure:
    """For each environment five panels of curves and the final returns; to be closed.

    Curves are means over seeds with Student's 95 % band.
    """
    environments = [
        name for name in comparison.environments if any(line.environment == name for line in lines)
    ]
    shown = max(sum(line.environment == name for line in lines) for name in environments)
    height = max(6.4, 2.4 + 0.34 * shown)
    figure = pyplot.figure(figsize=(16, height * len(environments) + 0.6), layout="constrained")
    figure.suptitle(comparison.title, x=0.01, ha="left", fontsize=14)
    styles = _styles(comparison, lines)
    parts = figure.subfigures(len(environments), 1, hspace=0.04, squeeze=False)
    for part, environment in zip(parts[:, 0], environments, strict=True):
        chosen = [line for line in lines if line.environment == environment]
        _environment(part, comparison, environment, chosen, styles, runs)
    return figure


def _styles(comparison: Comparison, lines: Sequence[Line]) -> dict[str, Style]:
    """A colour and dashes for each label, in the file's order, the same in every environment."""
    trained = cycle(product(_DASHES, _COLOURS))
    others = cycle(_BASELINE_DASHES)
    trains = {line.label for line in lines if line.seeds}
    styles: dict[str, Style] = {}
    for entry in comparison.file.entries:
        if entry.shown in styles:
            continue
        if entry.shown in trains:
            dashes, colour = next(trained)
        else:
            dashes, colour = next(others), _BASELINE_COLOUR
        styles[entry.shown] = {"color": colour, "linestyle": dashes}
    return styles


def _environment(
    figure: SubFigure,
    comparison: Comparison,
    environment: str,
    lines: Sequence[Line],
    styles: Mapping[str, Style],
    runs: Path,
) -> None:
    """All panels of one environment, and one legend."""
    if len(comparison.environments) > 1:
        figure.suptitle(environment, x=0.01, ha="left", fontsize=12)
    axes = figure.subplot_mosaic(_LAYOUT, width_ratios=[1, 1, 1, 1.15])
    curves = {
        line.label: [rows for job in line.jobs if (rows := read_rows(runs / job.name / METRICS))]
        for line in lines
        if line.seeds
    }
    budgets = [line.average("env_steps") for line in lines if line.seeds]
    for name, (title, read) in {**PANELS, "values": convergence(curves.values())}.items():
        _curves(axes[name], title, read, curves, styles)
        _step_axis(axes[name], budgets)
    _baselines(axes["learning"], lines, styles)
    for name in ("click", "exploration"):
        axes[name].yaxis.set_major_formatter(PercentFormatter(1.0))
        axes[name].set_ylim(0, max(0.02, min(1.02, axes[name].get_ylim()[1])))
    earned = [np.asarray(line.get_ydata(), float) for line in axes["reward"].lines]
    axes["reward"].set_ylim(bottom=min([0.0, *(float(np.min(y, initial=0)) for y in earned)]))
    axes["reward"].yaxis.set_major_formatter(EngFormatter(sep=""))
    _returns(axes["returns"], comparison, lines, styles)
    handles, labels = axes["learning"].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False
    )


def _curves(
    axes: Axes,
    title: str,
    read: Callable[[Rows], Numbers],
    runs: Mapping[str, Sequence[Rows]],
    styles: Mapping[str, Style],
) -> None:
    """One panel: a line and its band for each label."""
    means: list[Numbers] = []
    for label, seeds in runs.items():
        found = [(np.array([row[STEPS] for row in rows]), read(rows)) for rows in seeds]
        steps, mean, low, high = band(found)
        style = styles[label]
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, mean, linewidth=1.6, marker=marker, label=label, **style)
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
        means.append(mean)
    everywhere = np.concatenate([np.zeros(0), *means])
    if len(everywhere):
        # Bands of few seeds may be so wide that the curves would look flat.
        axes.set_ylim(*_limits(everywhere, 0.35))
    else:
        axes.text(
            0.5, 0.5, "not reported here", ha="center", color="#777777", transform=axes.transAxes
        )
    axes.set_title(title, loc="left", fontsize=10)
    _plain(axes)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)


def _baselines(axes: Axes, lines: Sequence[Line], styles: Mapping[str, Style]) -> None:
    """A level line for each policy that needs no training."""
    low, high = axes.get_ylim()
    for line in lines:
        if not line.seeds:
            mean = line.mean_return.mean
            axes.axhline(mean, linewidth=1.3, label=line.label, **styles[line.label])
            margin = 0.05 * (high - low)
            low, high = min(low, mean - margin), max(high, mean + margin)
    axes.set_ylim(low, high)


def _limits(values: Numbers, room: float) -> tuple[float, float]:
    """An axis for these values, with a part of their range as room on either side."""
    low, high = float(values.min()), float(values.max())
    around = room * (high - low) or 0.05 * abs(high) or 1.0
    return low - around, high + around


def _step_axis(axes: Axes, budgets: Sequence[float]) -> None:
    axes.set_xlabel("user-steps", fontsize=9)
    if budgets and max(budgets) / min(budgets) >= _LOG_FROM:
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _returns(
    axes: Axes, comparison: Comparison, lines: Sequence[Line], styles: Mapping[str, Style]
) -> None:
    """The return of every final policy with its interval, the best on top."""
    for place, line in enumerate(reversed(lines)):
        found = line.mean_return
        errors = np.nan_to_num([[found.mean - found.low], [found.high - found.mean]])
        axes.errorbar(
            [found.mean],
            [place],
            xerr=errors,
            color=styles[line.label]["color"],
            marker="o" if line.seeds else "s",
            markersize=6,
            capsize=3,
            linestyle="none",
        )
        axes.annotate(
            number(found.mean),
            (found.mean, place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    published = {
        place: line.published
        for place, line in enumerate(reversed(lines))
        if line.published is not None
    }
    if published:
        axes.plot(
            list(published.values()),
            list(published),
            marker="D",
            markersize=10,
            markerfacecolor="none",
            markeredgewidth=1.4,
            color="#333333",
            zorder=5,
            linestyle="none",
            label=comparison.file.published_by or "published",
        )
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9)
    axes.set_yticks(range(len(lines)), [line.label for line in reversed(lines)], fontsize=9)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    means = np.array([*(line.mean_return.mean for line in lines), *published.values()])
    ends = np.array([[line.mean_return.low, line.mean_return.high] for line in lines]).ravel()
    low, high = _limits(means, 1.0)
    # All intervals, unless one is so wide that nothing else could be read.
    within = np.clip(np.append(ends[~np.isnan(ends)], means), low, high)
    axes.set_xlim(*_limits(within, 0.08))
    seeds = max((len(line.seeds) for line in lines), default=0)
    runs = f", {seeds} seed{'s' * (seeds > 1)}" if seeds else ""
    axes.set_title(f"final return, 95 % interval{runs}", loc="left", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("return of a session", fontsize=9)
    _plain(axes)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.8)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
