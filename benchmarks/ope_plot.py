"""The picture of off-policy estimates against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

_HOLDS, _FAILS, _BOOTSTRAP = "#0072B2", "#999999", "#D55E00"
_ACROSS, _FLOOR = 4, 70


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Two panels a pair: error in % of the truth (bias and RMSE), and coverage below it.

    Args:
        rows: as `benchmarks.ope.measure` gives them.
        path: of the picture.
    """
    pairs = list(dict.fromkeys((row["world"], row["pair"]) for row in rows))
    lines = math.ceil(len(pairs) / _ACROSS)
    figure, axes = pyplot.subplots(2 * lines, _ACROSS, figsize=(13, 6 * lines), squeeze=False)
    above, below = axes[::2].ravel(), axes[1::2].ravel()
    for axis in (*above[len(pairs) :], *below[len(pairs) :]):
        axis.set_axis_off()
    for place, (world, pair) in enumerate(pairs):
        found = [row for row in rows if (row["world"], row["pair"]) == (world, pair)]
        title = f"{world}\n{pair}, ESS {found[0]['effective']:.0f}"
        above[place].set_title(title, fontsize=9)
        _errors(above[place], found)
        _coverage(below[place], found)
        for axis in (above[place], below[place]):
            names = [row["estimator"] for row in found]
            axis.set_xticks(np.arange(len(found)), names, rotation=90, fontsize=8)
    for axis in axes[::2, 0]:
        axis.set_ylabel("bias ± RMSE, % of the truth")
    for axis in axes[1::2, 0]:
        axis.set_ylabel("coverage, %")
    below[0].legend(fontsize=8, loc="center left")
    meaning = "Blue: assumptions hold. Grey: they don't. Band: 92 to 98 %. On the edge: less than"
    figure.suptitle(f"{meaning} {_FLOOR} %.", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _colours(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [_HOLDS if row["holds"] else _FAILS for row in rows]


def _errors(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    scale = 100 / abs(rows[0]["truth"])
    bias, rmse = (scale * np.array([row[key] for row in rows]) for key in ("bias", "rmse"))
    places, colours = np.arange(len(rows)), _colours(rows)
    axis.errorbar(places, bias, rmse, fmt="none", ecolor=colours, elinewidth=1.5)
    axis.scatter(places, bias, c=colours, s=18, zorder=3)
    axis.axhline(0, color="black", linewidth=0.6)
    limit = 1.1 * float((np.abs(bias) + rmse).max())
    axis.set_ylim(-limit, limit)


def _coverage(axis: Axes, rows: Sequence[dict[str, Any]]) -> None:
    places = np.arange(len(rows))
    for kind, marker, shade in (("t", "o", _colours(rows)), ("bootstrap", "x", _BOOTSTRAP)):
        cover = np.array([100 * row.get(kind, np.nan) for row in rows])
        axis.scatter(places, cover.clip(_FLOOR), marker=marker, s=22, label=kind, c=shade)
    axis.axhspan(92, 98, color="#009E73", alpha=0.15)
    axis.set_ylim(_FLOOR - 1, 101)
