"""The picture of a run: return over user-steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from algorithms.metrics import STEPS, read_rows

_TRAIN, _EVALUATED, _FINAL, _REFERENCE = "#7a8794", "#0b5394", "#b45f06", "#444444"
_DASHES = ("--", ":", "-.")


def draw_curves(folder: Path, title: str, result: Mapping[str, Any] | None = None) -> None:
    """Write `curves.png` from `metrics.csv`; kinds of points differ in shape, not only colour.

    Args:
        folder: of the run.
        title: above the picture.
        result: what the run came to, with returns of other policies as `references`.
    """
    rows = read_rows(folder / "metrics.csv")
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    _training(axes, rows)
    _evaluations(axes, rows)
    if result is not None:
        _result(axes, result)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("user-steps")
    axes.set_ylabel("return of a session")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02, y=0.08)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", frameon=False, fontsize=9)
    partial = folder / ".curves.partial.png"
    figure.savefig(partial, dpi=130)
    pyplot.close(figure)
    partial.replace(folder / "curves.png")


def _training(axes: Axes, rows: list[dict[str, float]]) -> None:
    shown = [row for row in rows if not math.isnan(row["return_mean"])]
    steps = [row[STEPS] for row in shown]
    returns = [row["return_mean"] for row in shown]
    if steps:
        axes.plot(steps, returns, color=_TRAIN, linewidth=1.3, label="training sessions")


def _evaluations(axes: Axes, rows: list[dict[str, float]]) -> None:
    shown = [row for row in rows if not math.isnan(row.get("eval_return", math.nan))]
    if not shown:
        return
    below = [row["eval_return"] - row["eval_low"] for row in shown]
    above = [row["eval_high"] - row["eval_return"] for row in shown]
    axes.errorbar(
        [row[STEPS] for row in shown],
        [row["eval_return"] for row in shown],
        yerr=[below, above],
        color=_EVALUATED,
        marker="o",
        markersize=5,
        linewidth=1.6,
        capsize=3,
        label="evaluations, 95 % interval",
    )


def _result(axes: Axes, result: Mapping[str, Any]) -> None:
    mean, interval = result["return_mean"], result["return_ci95"]
    errors = [[mean - interval[0]], [interval[1] - mean]] if interval else None
    axes.errorbar(
        [result["env_steps"]],
        [mean],
        yerr=errors,
        color=_FINAL,
        marker="D",
        markersize=8,
        capsize=4,
        linestyle="none",
        zorder=5,
        label=f"{mean:.1f} at the end, {result['eval_users']:,} users, {result['backend']} backend",
    )
    for (name, value), dashes in zip(result.get("references", {}).items(), _DASHES, strict=False):
        axes.axhline(
            value,
            color=_REFERENCE,
            linestyle=dashes,
            linewidth=1.2,
            label=f"{name.replace('_', ' ')} {value:.1f}",
        )
