"""How everything is drawn: told apart by dashes, marks and labels, and by colour besides."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from algorithms.evaluation import Numbers
from algorithms.reporting.html import NOTHING

INK, SOFT, GRID, PALE = "#1b1f24", "#57606a", "#e3e7eb", "#c4ccd4"
HALF, WIDE = (5.4, 3.5), 11.2
"""Inches: width and height of a panel of which two stand side by side, width of a page."""
SHADES = "YlGnBu"
"""A colour map that only darkens, so that it reads in grey."""

_DPI, _CSS_PER_INCH = 160, 100
_FEW = 3
"""Points that make no line to speak of."""
_RC: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "",
}
# Okabe and Ito's colours, told apart with any colour vision; from dark to pale in turn.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (2.5, 1.2)))
_MARKS = ("o", "s", "^", "D", "v", "P")
_BASELINE_GREYS = ("#777777", "#444444", "#999999", "#222222")
_BASELINE_DASHES: tuple[Any, ...] = (
    (0, (1, 1.6)),
    (0, (4, 2)),
    (0, (5, 2, 1, 2)),
    (0, (8, 2, 1, 2, 1, 2)),
)
_BASELINE_MARKS = ("x", "+", "1", "2")


@dataclass(frozen=True)
class Look:
    """How one policy is drawn, everywhere on the page."""

    colour: str
    dashes: Any
    mark: str

    def line(self, points: int | None = None) -> dict[str, Any]:
        """Arguments of `Axes.plot` with marks where there are so few points."""
        mark = self.mark if points is not None and points <= _FEW else None
        found = {"color": self.colour, "linestyle": self.dashes, "linewidth": 1.7}
        return {**found, "marker": mark, "markersize": 4} if mark else found


def run_look(place: int) -> Look:
    """Of the run at a place on the command line."""
    dashes = _DASHES[place % len(_DASHES)]
    return Look(_COLOURS[place % len(_COLOURS)], dashes, _MARKS[place % len(_MARKS)])


def baseline_look(place: int) -> Look:
    """Of a baseline."""
    place %= len(_BASELINE_GREYS)
    return Look(_BASELINE_GREYS[place], _BASELINE_DASHES[place], _BASELINE_MARKS[place])


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: of its file, without the ending.
        png: the file.
        alt: what is to be seen, in words.
        caption: how to read it.
        wide: whether it takes the page's whole width.
        width: at which it is meant to be seen, in CSS pixels.
    """

    name: str
    png: bytes
    alt: str
    caption: str
    wide: bool
    width: int


@contextmanager
def drawing(width: float = HALF[0], height: float = HALF[1]) -> Iterator[Figure]:
    """A figure of so many inches, in the style of the page."""
    with matplotlib.rc_context(_RC):
        yield Figure(figsize=(width, height), layout="constrained", facecolor="white")


def finish(figure: Figure, name: str, alt: str, caption: str = "") -> Picture:
    """The picture of a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    inches = figure.get_size_inches()[0]
    return Picture(
        name, buffer.getvalue(), alt, caption, inches > HALF[0] * 1.5, round(inches * _CSS_PER_INCH)
    )


def tidy(axes: Axes, title: str, below: str = "") -> None:
    """Title, label of the horizontal axis, and no more lines than are needed."""
    axes.set_title(title)
    axes.set_xlabel(below)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def legend(axes: Axes) -> None:
    """Below the picture, where it covers nothing."""
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        short = max(map(len, labels)) <= 16
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.45, -0.2),
            ncols=3 if short else 2,
            handlelength=3.2,
            columnspacing=1.4,
        )


def figure_of(value: float) -> str:
    """A number for people: three or four digits that count."""
    if not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:#.3g}" if value else "0"


def signed(value: float) -> str:
    """The same with a plus where there is more."""
    return f"+{figure_of(value)}" if value > 0 else figure_of(value)


def share(value: float) -> str:
    """A share in per cent, never rounded to all or nothing."""
    return f"{value:.1%}" if 0 < value < 0.01 or 0.99 < value < 1 else f"{value:.0%}"


def above(axes: Axes, text: str, place: tuple[float, float], points: float = 7) -> None:
    """Small words above a place of the picture."""
    axes.annotate(
        text,
        place,
        (0, points),
        textcoords="offset points",
        ha="center",
        fontsize=8.5,
        annotation_clip=False,
    )


def interval(low: float, high: float) -> str:
    """An interval for people."""
    return "" if math.isnan(low) else f"[{figure_of(low)}, {figure_of(high)}]"


def shortened(label: str, most: int = 26) -> str:
    """A label that fits a legend; matplotlib takes `$` for mathematics and `_` for none."""
    short = label if len(label) <= most else f"{label[: most // 2 - 1]}…{label[-most // 2 + 1 :]}"
    return short.replace("$", r"\$").removeprefix("_") or "run"


def thinned(values: Sequence[float] | Numbers, most: int = 400) -> slice:
    """Every so many of a long line, which a picture could not show anyway."""
    return slice(None, None, max(1, math.ceil(len(values) / most)))


def mean_over(values: np.ndarray[Any, Any], playing: np.ndarray[Any, Any]) -> Any:
    """Mean over users who still play, step by step.

    Args:
        values: (T, U), or (T, U, K) for a mean over slots too.
        playing: (T, U) bool.

    Returns:
        (T,), NaN where nobody plays.
    """
    each = values.mean(axis=2) if values.ndim == 3 else values
    count = playing.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(playing, each, 0.0).sum(axis=1) / np.where(count, count, np.nan)
