"""Whole sessions of a few users: a strip of slates with what was clicked, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from algorithms.evaluation import Numbers
from algorithms.reporting.group import Group, Player
from algorithms.reporting.html import Cell
from algorithms.reporting.playing import Array, Playback
from algorithms.reporting.showing import numbers_of
from algorithms.reporting.style import (
    INK,
    PALE,
    SHADES,
    SOFT,
    WIDE,
    Picture,
    drawing,
    figure_of,
    finish,
    shortened,
)

QUANTILES = (0.1, 0.5, 0.9)
"""Of the first run's returns: whose sessions are drawn."""
_MOST_STEPS = 200
_TABLE_STEPS = 12
_SHARED = 4


@dataclass(frozen=True)
class Shading:
    """What the shade of a shown document says, with one scale for all.

    Attributes:
        name: of the number, or of the kind of documents.
        low: the palest.
        high: the darkest.
        of_kinds: whether the shade tells kinds apart.
    """

    name: str
    low: float
    high: float
    of_kinds: bool


def chosen_users(returns: Numbers) -> list[int]:
    """The users whose returns are closest to the quantiles, all different where they can be."""
    found: list[int] = []
    for target in np.quantile(returns, QUANTILES):
        order = np.argsort(np.abs(returns - target), kind="stable").tolist()
        fresh = [user for user in order if user not in found]
        found += fresh[:1]
    return found


def shading_of(players: Sequence[Player]) -> Shading | None:
    """What decides the rest of the session if documents show it, else any number, else the kind."""
    first = players[0].playback
    names = [*reversed(first.tension or ()), *first.shown]
    for name in (name for name in names if name in first.shown):
        values = np.concatenate([p.playback.shown[name][p.playback.playing] for p in players])
        low, high = (float(q) for q in np.quantile(values, [0.01, 0.99]))
        if high > low:
            return Shading(name, low, high, of_kinds=False)
    if first.topic is not None:
        return Shading(first.topic_kind, 0, max(1, len(first.topic_names) - 1), of_kinds=True)
    return None


def session_pictures(group: Group, prefix: str) -> list[Picture]:
    """The same few users with every run, and with the best baseline."""
    if not group.runs:
        return []
    users = chosen_users(group.runs[0].result.returns)
    shading = shading_of(group.players)
    best = group.best_baseline
    players = [*group.runs, *([] if best is None else [best])]
    lengths = {player.label: int(player.result.lengths[users].max()) for player in players}
    longest, found = max(lengths.values()), []
    for place, player in enumerate(players):
        own = lengths[player.label]
        # One scale for all, unless it would leave most of a picture empty.
        wanted = longest if own * _SHARED >= longest else own
        steps = min(_MOST_STEPS, wanted)
        name = f"{prefix}sessions-{place}"
        found.append(_sessions(player, users, steps, own > steps, shading, name))
    return found


def _sessions(
    player: Player, users: list[int], steps: int, cut: bool, shading: Shading | None, name: str
) -> Picture:
    playback, said = player.playback, []
    slots = playback.click.shape[2]
    strip = 0.3 + 0.17 * slots
    with drawing(WIDE, 0.9 + len(users) * (strip + 1.05)) as figure:
        grid = figure.subplots(
            2 * len(users), 1, height_ratios=[strip, 0.6] * len(users), squeeze=False
        )
        image = None
        for place, user in enumerate(users):
            above, below = grid[2 * place, 0], grid[2 * place + 1, 0]
            image = _strip(above, playback, user, steps, shading)
            count = int(playback.result.lengths[user])
            figures = (
                f"user {user}: return {figure_of(playback.result.returns[user])} "
                f"in {count} step{'s' * (count != 1)}"
            )
            above.set_title(f"{shortened(player.label)}, {figures}", fontsize=9.5)
            said.append(figures)
            _state(below, playback, user, steps)
        grid[-1, 0].set_xlabel("step of the session")
        for axes in grid.flat:
            axes.set_xlim(0.5, steps + 0.5)
            if axes is not grid[-1, 0]:  # the last one's labels serve all
                axes.set_xticks([])
        grid[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
        _bar(figure, grid, image, shading, playback)
        return finish(
            figure,
            name,
            f"Sessions with {player.label}: {'; '.join(said)}.",
            caption(playback, shading, cut, steps),
        )


def caption(playback: Playback, shading: Shading | None, cut: bool, steps: int) -> str:
    """How to read a strip."""
    parts = []
    if playback.slates:
        slots = "a row a slot of the slate" if playback.click.shape[2] > 1 else "one row"
        parts.append(f"A column is a step, {slots}.")
    if shading is not None:
        parts.append(f"The darker, the higher: {shading.name}." if not shading.of_kinds else "")
    if _clicks_differ(playback):
        parts.append("A white dot marks the document that was clicked.")
    parts.append(f"The line below is {_state_of(playback)[0]}.")
    if cut:
        parts.append(f"Only the first {steps} steps are drawn.")
    return " ".join(part for part in parts if part)


def _strip(axes: Axes, playback: Playback, user: int, steps: int, shading: Shading | None) -> Any:
    """What was shown, slots by steps."""
    length = min(steps, int(playback.result.lengths[user]))
    slots = playback.click.shape[2]
    shades = np.zeros((slots, length))
    if shading is not None:
        source = playback.topic if shading.of_kinds else playback.shown[shading.name]
        assert source is not None
        shades = source[:length, user].T.astype(float)
    slots = len(shades)
    image = axes.imshow(
        shades,
        aspect="auto",
        cmap=SHADES,
        vmin=0 if shading is None else shading.low,
        vmax=1 if shading is None else shading.high,
        interpolation="nearest",
        extent=(0.5, length + 0.5, slots + 0.5, 0.5),
    )
    if _clicks_differ(playback):
        step, slot = np.nonzero(playback.click[:length, user])
        axes.scatter(
            step + 1, slot + 1, s=13, facecolor="white", edgecolor=INK, linewidth=0.7, zorder=3
        )
    axes.axvline(length + 0.5, color=INK, linewidth=1)
    axes.hlines(np.arange(1.5, slots), 0.5, length + 0.5, color="white", linewidth=1.5)
    axes.set_yticks(range(1, slots + 1))
    axes.set_ylabel("slot" if slots > 1 else "", fontsize=8.5)
    if slots == 1:
        axes.set_yticks([])
    axes.tick_params(axis="both", length=0, labelbottom=False)
    axes.spines[:].set_visible(False)
    return image


def _clicks_differ(playback: Playback) -> bool:
    """Whether clicks tell anything: in some worlds every shown document counts as one."""
    return playback.slates and not bool(playback.click[playback.playing].all())


def _state_of(playback: Playback) -> tuple[str, Array]:
    """The first number of users that moves, or the reward so far, (T, U)."""
    for name, values in playback.users.items():
        if float(np.ptp(values[playback.playing])) > 0 and len(values) > 1:
            moves = np.abs(np.diff(values, axis=0)) * playback.playing[1:]
            if float(moves.max()) > 0:
                return name, values
    return "the reward so far", np.cumsum(playback.reward * playback.playing, axis=0)


def _state(axes: Axes, playback: Playback, user: int, steps: int) -> None:
    name, values = _state_of(playback)
    length = min(steps, int(playback.result.lengths[user]))
    along = np.arange(1, length + 1)
    axes.fill_between(along, values[:length, user], color=PALE, alpha=0.45, linewidth=0)
    axes.plot(along, values[:length, user], color=SOFT, linewidth=1.4)
    axes.set_title(name, fontsize=8.5, fontweight="normal", color=SOFT, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.tick_params(labelsize=8)


def _bar(
    figure: Figure, grid: Any, image: Any, shading: Shading | None, playback: Playback
) -> None:
    if shading is None or image is None:
        return
    bar = figure.colorbar(image, ax=grid, aspect=40, pad=0.01, fraction=0.03)
    bar.set_label(shading.name)
    if shading.of_kinds:
        every = -(-len(playback.topic_names) // 12)
        places = list(range(0, len(playback.topic_names), every))
        bar.set_ticks(places, labels=[shortened(playback.topic_names[p], 18) for p in places])


def session_table(player: Player, user: int) -> tuple[list[str], list[list[Cell]]]:
    """Head and rows of the first steps of a user's session, in words."""
    playback = player.playback
    length = min(_TABLE_STEPS, int(playback.result.lengths[user]))
    state, values = _state_of(playback)
    clicks = _clicks_differ(playback)
    head = ["step", "shown", *(["clicked"] if clicks else []), "reward", f"{state}, before"]
    if state not in playback.users:
        head = head[:-1]
    rows: list[list[Cell]] = []
    for step in range(length):
        row: list[Cell] = [str(step + 1), _shown(playback, step, user)]
        if clicks:
            hit = np.nonzero(playback.click[step, user])[0]
            row.append(f"slot {int(hit[0]) + 1}" if len(hit) else None)
        row.append(figure_of(float(playback.reward[step, user])))
        if state in playback.users:
            row.append(figure_of(float(values[step, user])))
        rows.append(row)
    return head, rows


def users_table(player: Player) -> tuple[list[str], list[list[Cell]]]:
    """Head and rows of the first users, for sessions of one step."""
    playback = player.playback
    count = min(_TABLE_STEPS, playback.playing.shape[1])
    rows: list[list[Cell]] = [
        [str(user), _shown(playback, 0, user), figure_of(float(playback.reward[0, user]))]
        for user in range(count)
    ]
    return ["user", "shown", "reward"], rows


def _shown(playback: Playback, step: int, user: int) -> str:
    """Each slot's document by its kind and numbers."""
    parts = []
    slots = next(iter(playback.shown.values()), playback.click).shape[2]
    for slot in range(slots):
        words = []
        if playback.topic is not None:
            words.append(playback.topic_names[int(playback.topic[step, user, slot])])
        words += [
            f"{name} {figure_of(float(numbers_of(playback, name)[step, user, slot]))}"
            for name in playback.shown
        ]
        parts.append(", ".join(words) or "document")
    return " | ".join(parts)
