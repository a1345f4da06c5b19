"""The picture of a search: each setting against the return, the most important first."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from algorithms.tuning.plan import Plan
from algorithms.tuning.report import settings_of
from algorithms.tuning.space import Dimension
from algorithms.tuning.trials import Trial

# Okabe and Ito's colours; shapes tell the same without them.
_FINISHED, _STOPPED, _BEST = "#0072B2", "#999999", "#D55E00"
_COLUMNS = 3


def draw(
    plan: Plan,
    trials: Sequence[Trial],
    best: Trial,
    importances: Mapping[str, float],
    path: Path,
) -> None:
    """Write the picture; the file is whole or not there."""
    figure = picture(plan, trials, best, importances)
    partial = path.with_name(f".{path.stem}.partial.png")
    try:
        figure.savefig(partial, dpi=110)
    finally:
        pyplot.close(figure)
    partial.replace(path)


def picture(
    plan: Plan, trials: Sequence[Trial], best: Trial, importances: Mapping[str, float]
) -> Figure:
    """How the search went, what matters, and a panel for each setting; to be closed."""
    space = sorted(plan.space, key=lambda each: -importances.get(each.key, 0.0))
    rows = 1 + math.ceil(len(space) / _COLUMNS)
    figure = pyplot.figure(figsize=(13, 3.4 * rows + 0.5), layout="constrained")
    count = f"{len(trials)} trials of {plan.config.train.env_steps:,} steps or fewer"
    title = f"Tuning {plan.config.algorithm} on {plan.config.env.name}: {count}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    grid = figure.add_gridspec(rows, _COLUMNS)
    _history(figure.add_subplot(grid[0, :2]), trials, best)
    _bars(figure.add_subplot(grid[0, 2]), space, importances)
    for place, each in enumerate(space):
        row, column = divmod(place, _COLUMNS)
        axes = figure.add_subplot(grid[row + 1, column])
        _setting(axes, plan, each, trials, best)
    return figure


def _kinds(trials: Sequence[Trial], best: Trial) -> list[tuple[str, str, str, list[Trial]]]:
    """Label, marker, colour and trials, failed ones left out."""
    finished = [t for t in trials if t.status == "finished" and t.number != best.number]
    stopped = [t for t in trials if t.status == "stopped"]
    return [
        ("stopped early", "x", _STOPPED, stopped),
        ("finished", "o", _FINISHED, finished),
        ("best", "*", _BEST, [best]),
    ]


def _history(axes: Axes, trials: Sequence[Trial], best: Trial) -> None:
    for label, marker, colour, some in _kinds(trials, best):
        if some:
            size = 150 if marker == "*" else 36
            x, y = [t.number for t in some], [t.readings[-1].mean for t in some]
            axes.scatter(x, y, size, colour, marker=marker, label=label, zorder=3)
    failed = [t.number for t in trials if t.status == "failed"]
    if failed:
        low = axes.get_ylim()[0]
        axes.scatter(failed, [low] * len(failed), 60, "#000000", marker="v", label="failed")
    finished = [t for t in trials if t.status == "finished"]
    highest = np.maximum.accumulate([t.readings[-1].mean for t in finished])
    axes.step([t.number for t in finished], highest, color=_BEST, where="post", linewidth=1)
    axes.set_title("return with the tuning users, and the best so far", loc="left", fontsize=10)
    axes.set_xlabel("trial; 0 is the config as it stood", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False)
    _plain(axes)


def _bars(axes: Axes, space: Sequence[Dimension], importances: Mapping[str, float]) -> None:
    axes.set_title("how much a setting matters (PED-ANOVA)", loc="left", fontsize=10)
    if not importances:
        text = "too few trials to tell"
        axes.text(0.5, 0.5, text, ha="center", color="#777777", transform=axes.transAxes)
    keys = [each.key for each in reversed(space)]
    axes.barh(keys, [importances.get(key, 0.0) for key in keys], color=_FINISHED, height=0.6)
    axes.set_xlim(0, 1)
    _plain(axes)
    axes.grid(visible=False, axis="y")


def _setting(axes: Axes, plan: Plan, each: Dimension, trials: Sequence[Trial], best: Trial) -> None:
    """One setting against the return."""
    choices = each.searched.choices
    places = {} if choices is None else {json.dumps(c): i for i, c in enumerate(choices)}
    for _, marker, colour, some in _kinds(trials, best):
        values = [settings_of(plan, trial)[each.key] for trial in some]
        y = [trial.readings[-1].mean for trial in some]
        x = [places.get(str(each.place(v)), -1) if places else v for v in values]
        shown = [(a, b) for a, b in zip(x, y, strict=True) if a is not None]
        size = 130 if marker == "*" else 30
        axes.scatter([a for a, _ in shown], [b for _, b in shown], size, colour, marker=marker)
    if places:
        axes.set_xticks(range(len(places)), list(places))
    elif each.searched.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif each.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(each.key, loc="left", fontsize=10)
    axes.set_ylabel("return", fontsize=9)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
