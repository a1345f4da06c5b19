"""The picture of off-policy estimates against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

_TELLING, _OPEN, _BOOTSTRAP = "#0072B2", "#999999", "#D55E00"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel a pair: above error in % of the truth (bias, RMSE), below coverage.

    Args:
        rows: as `benchmarks.ope.measure` gives them.
        path: of the picture.
    """
    pairs = list(dict.fromkeys((row["world"], row["pair"]) for row in rows))
    figure, axes = pyplot.subplots(
        2, len(pairs), figsize=(3.1 * len(pairs), 6), squeeze=False, sharey="row"
    )
    for (world, pair), (above, below) in zip(pairs, axes.T, strict=True):
        found = [row for row in rows if (row["world"], row["pair"]) == (world, pair)]
        places = np.arange(len(found))
        colours = [_TELLING if row["holds"] else _OPEN for row in found]
        scale = 100 / abs(found[0]["truth"])
        bias = np.array([row["bias"] for row in found]) * scale
        rmse = np.array([row["rmse"] for row in found]) * scale
        above.errorbar(places, bias, rmse, fmt="none", ecolor=colours, elinewidth=1.5)
        above.scatter(places, bias, c=colours, s=18, zorder=3)
        above.axhline(0, color="black", linewidth=0.6)
        above.set_title(f"{world}\n{pair}\nESS {found[0]['effective']:.0f}", fontsize=8)
        for kind, marker, colour in (("t", "o", None), ("bootstrap", "x", _BOOTSTRAP)):
            cover = [100 * row.get(kind, np.nan) for row in found]
            shade = {"c": colours} if colour is None else {"color": colour}
            below.scatter(places, cover, marker=marker, s=18, label=kind, **shade)
        below.axhspan(92, 98, color="#009E73", alpha=0.15)
        for axis in (above, below):
            axis.set_xticks(places, [row["estimator"] for row in found], rotation=90, fontsize=7)
    axes[0, 0].set_ylabel("bias ± RMSE, % of the truth")
    axes[1, 0].set_ylabel("coverage of 95 % intervals, %")
    axes[1, 0].legend(fontsize=7, loc="lower left")
    axes[0, 0].set_ylim(-30, 30)
    axes[1, 0].set_ylim(60, 101)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
