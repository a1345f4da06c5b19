"""Pictures of the kinds of documents that policies show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from algorithms.reporting.group import Group
from algorithms.reporting.playing import Array, Playback
from algorithms.reporting.rows import drawn_steps, height, name_rows, put_row
from algorithms.reporting.style import (
    HALF,
    SHADES,
    WIDE,
    Picture,
    drawing,
    finish,
    legend,
    shortened,
    tidy,
)

_MOST_MAPS = 6


def kind_counts(playback: Playback) -> Array:
    """How often each kind was shown to each user, (U, kinds)."""
    assert playback.topic is not None
    kinds = len(playback.topic_names)
    steps, users, slots = playback.topic.shape
    owner = np.broadcast_to(np.arange(users)[:, None], (steps, users, slots))
    seen = np.broadcast_to(playback.playing[..., None], (steps, users, slots))
    flat = (owner * kinds + playback.topic)[seen]
    return np.bincount(flat, minlength=users * kinds).reshape(users, kinds)


def effective_kinds(counts: Array) -> Array:
    """Exponential of the entropy of each row's shares, (U,): 1 for one kind only.

    Args:
        counts: (U, kinds), with a positive sum each.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(shares > 0, np.log(shares), 0.0)
    return np.asarray(np.exp(-(shares * logs).sum(axis=1)))


def kinds_in_session(group: Group, prefix: str) -> Picture:
    """How many kinds a session holds, over users."""
    first, said = group.players[0].playback, []
    kind, rows = first.topic_kind, [(player.label, player) for player in group.players]
    with drawing(HALF[0], height(rows)) as figure:
        axes = figure.subplots()
        for row, (_, player) in enumerate(rows):
            found = effective_kinds(kind_counts(player.playback))
            middle = float(np.median(found))
            put_row(axes, row, player, found, middle, f"{middle:.1f}")
            said.append(f"{player.label} {middle:.1f}")
        title = f"{kind[0].upper()}{kind[1:]}s in a session"
        name_rows(axes, title, f"effective number of {kind}s", rows)
        axes.set_xlim(left=0)
        return finish(
            figure,
            f"{prefix}kinds",
            f"Effective number of {kind}s shown in a session, median over users: "
            f"{', '.join(said)}, of {len(first.topic_names)}.",
            f"So many equally frequent {kind}s would be as varied as what a user is shown; bars "
            f"hold nine in ten users. There are {len(first.topic_names)}.",
        )


def kinds_at_once(group: Group, prefix: str) -> Picture:
    """Shares of kinds where sessions have one step: a line of marks a policy."""
    first, said = group.players[0].playback, []
    names = first.topic_names
    with drawing(HALF[0], max(HALF[1], 1.3 + 0.2 * len(names))) as figure:
        axes = figure.subplots()
        for player in group.players:
            share = shares_over_time(player.playback, 1)[:, 0]
            look, label = player.look, shortened(player.label)
            axes.plot(share, range(len(names)), look.mark, color=look.colour, label=label)
            said.append(f"{player.label}: {_favourites(share[:, None], player.playback)}")
        tidy(axes, f"Shares of the {first.topic_kind}s", "share of what is shown")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlim(left=0)
        _name_kinds(axes, names)
        legend(axes)
        return finish(
            figure,
            f"{prefix}kinds",
            f"Shares of the {first.topic_kind}s in what is shown. {'; '.join(said)}.",
        )


def shares_over_time(playback: Playback, columns: int) -> Array:
    """Share of each kind among what is shown, (kinds, columns), in equal stretches of steps."""
    assert playback.topic is not None
    kinds = len(playback.topic_names)
    steps = drawn_steps(playback.playing)
    stretches = np.array_split(np.arange(steps), min(columns, steps))
    found = np.zeros((kinds, len(stretches)))
    for place, stretch in enumerate(stretches):
        seen = playback.topic[stretch][playback.playing[stretch]]
        counts = np.bincount(seen.ravel(), minlength=kinds)
        found[:, place] = counts / max(1, counts.sum())
    return found


def kinds_over_time(group: Group, prefix: str) -> Picture:
    """Shares of kinds over steps, a map a policy, with one scale."""
    players = group.players[:_MOST_MAPS]
    first = players[0].playback
    shares = [shares_over_time(player.playback, 60) for player in players]
    top = max(float(share.max()) for share in shares)
    columns = min(3, len(players))
    rows = -(-len(players) // columns)
    tall = 1.0 + rows * max(1.7, min(3.2, 0.14 * len(first.topic_names) + 0.7))
    with drawing(WIDE, tall) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, player, share in zip(grid.flat, players, shares, strict=False):
            steps = drawn_steps(player.playback.playing)
            image = axes.imshow(
                share,
                aspect="auto",
                cmap=SHADES,
                vmin=0,
                vmax=top,
                origin="lower",
                interpolation="nearest",
                extent=(0.5, steps + 0.5, -0.5, len(first.topic_names) - 0.5),
            )
            axes.set_title(shortened(player.label))
            axes.set_xlabel("step of the session")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _name_kinds(axes, first.topic_names)
        for axes in list(grid.flat)[len(players) :]:
            axes.set_visible(False)
        bar = figure.colorbar(image, ax=grid, aspect=30, pad=0.015)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        bar.set_label("share of what is shown")
        said = [f"{p.label}: {_favourites(s, p.playback)}" for p, s in zip(players, shares)]  # noqa: B905
        return finish(
            figure,
            f"{prefix}kinds-over-time",
            f"Shares of {first.topic_kind}s over the steps of a session. {'; '.join(said)}.",
            f"The darker, the larger the share of that {first.topic_kind} at that step of "
            "a session; one scale for all.",
        )


def _name_kinds(axes: Axes, names: Sequence[str]) -> None:
    every = -(-len(names) // 20)
    places = range(0, len(names), every)
    axes.set_yticks(list(places), [shortened(names[place], 18) for place in places], fontsize=8)


def _favourites(share: Array, playback: Playback) -> str:
    mean: Any = share.mean(axis=1)
    best = np.argsort(-mean)[:2]
    return " and ".join(f"{playback.topic_names[place]} {mean[place]:.0%}" for place in best)
