"""The picture of an offline run: losses over updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import EngFormatter

from algorithms.metrics import read_rows

_LINES = (
    ("learner/loss", "learned from", "#7a8794", "-", None),
    ("held_out/loss", "held out", "#0b5394", "--", "o"),
)


def draw(folder: Path, title: str, result: Mapping[str, Any]) -> None:
    """Write `curves.png` from `metrics.csv`; lines differ in dashes too, not only in colour.

    Args:
        folder: of the run.
        title: above the picture.
        result: what the run came to; its return stands in the legend.
    """
    rows = read_rows(folder / "metrics.csv")
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, label, colour, dashes, marker in _LINES:
        shown = [row for row in rows if not math.isnan(row.get(name, math.nan))]
        if shown:
            axes.plot(
                [row["updates"] for row in shown],
                [row[name] for row in shown],
                color=colour,
                linestyle=dashes,
                marker=marker,
                markersize=4,
                label=label,
            )
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("updates")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    legend = _worth(result)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", frameon=False, fontsize=9, title=legend)
    partial = folder / ".curves.partial.png"
    figure.savefig(partial, dpi=130)
    pyplot.close(figure)
    partial.replace(folder / "curves.png")


def _worth(result: Mapping[str, Any]) -> str | None:
    if result["return_mean"] is None:
        return None
    logged = result["references"].get("logged")
    behind = "" if logged is None else f"; the log's sessions {logged:.1f}"
    return f"return {result['return_mean']:.1f}, {result['backend']} backend{behind}"
