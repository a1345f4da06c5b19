"""Pictures of what policies show over a session: numbers, kinds, and how much they vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from algorithms.reporting.group import Group, Player
from algorithms.reporting.playing import Array, Playback
from algorithms.reporting.style import (
    HALF,
    INK,
    PALE,
    SHADES,
    WIDE,
    Picture,
    above,
    drawing,
    figure_of,
    finish,
    legend,
    mean_over,
    shortened,
    tidy,
)

_MOST_NUMBERS = 4
_MOST_MAPS = 6
_FEWEST_USERS = 0.1
"""Steps that fewer than this share of the users reach are not drawn: a few say little."""


def showing_pictures(group: Group, prefix: str) -> list[Picture]:
    """All that the world lets be shown of its documents and users; none without users."""
    if not group.players:
        return []
    first = group.players[0].playback
    found: list[Picture] = []
    if first.tension is not None:
        found.append(_plane(group, first.tension, prefix))
    numbers = [("shown", name) for name in first.shown] + [("users", n) for n in first.users]
    numbers = [each for each in numbers if any(_varies(p.playback, each) for p in group.players)]
    for place, (kind, name) in enumerate(numbers[:_MOST_NUMBERS]):
        found.append(_over_time(group, kind, name, f"{prefix}shown-{place}"))
    if drawn_steps(first.playing) > 1:
        found.append(_rewards(group, prefix))
    if first.topic is not None and len(first.topic_names) > 1:
        found.append(_kinds(group, prefix))
        found.append(_maps(group, prefix))
    if any(_spread(player) > 0 for player in group.runs):
        found.append(_exploration(group, prefix))
    return found


def drawn_steps(playing: Array) -> int:
    """How many first steps a large enough share of users reaches, playing (T, U)."""
    enough = playing.mean(axis=1) >= _FEWEST_USERS
    return max(1, int(enough.sum()))


def numbers_of(playback: Playback, name: str) -> Array:
    """A number of the shown documents, (T, U, K), or of the users, (T, U), by its name."""
    return playback.shown[name] if name in playback.shown else playback.users[name]


def _varies(playback: Playback, which: tuple[str, str]) -> bool:
    values = numbers_of(playback, which[1])[playback.playing]
    return bool(np.ptp(values) > 0)


def _spread(player: Player) -> float:
    spread, playing = player.playback.spread, player.playback.playing
    return 0.0 if spread is None else float(spread[playing].mean())


def _over_time(group: Group, kind: str, name: str, file: str) -> Picture:
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for player in group.players:
            playback = player.playback
            steps = drawn_steps(playback.playing)
            means = mean_over(numbers_of(playback, name), playback.playing)[:steps]
            _line(axes, player, means)
            said.append(
                f"{player.label} from {figure_of(float(means[0]))} to {figure_of(float(means[-1]))}"
            )
        # Worlds may draw candidates anew for everyone, so one line tells what was to be had.
        first = group.players[0].playback
        if kind == "shown" and name in first.offered:
            steps = drawn_steps(first.playing)
            offered = mean_over(first.offered[name], first.playing)[:steps]
            axes.plot(np.arange(1, steps + 1), offered, color=PALE, linewidth=4, zorder=1)
            axes.plot([], [], color=PALE, linewidth=4, label="all offered")
        title = f"{name[0].upper()}{name[1:]}, {'shown' if kind == 'shown' else 'of the users'}"
        tidy(axes, title, "step of the session")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
        what = "of what is shown" if kind == "shown" else "of the users who are still there"
        return finish(figure, file, f"Mean {name} {what}, step by step: {'; '.join(said)}.")


def _rewards(group: Group, prefix: str) -> Picture:
    """What a step earns, for users who are still there."""
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for player in group.players:
            playback = player.playback
            steps = drawn_steps(playback.playing)
            means = mean_over(playback.reward, playback.playing)[:steps]
            _line(axes, player, means)
            said.append(f"{player.label} {figure_of(float(means.mean()))}")
        tidy(axes, "Reward of a step", "step of the session")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
        return finish(
            figure, f"{prefix}rewards", f"Reward of a step, mean over a session: {', '.join(said)}."
        )


def _line(axes: Axes, player: Player, values: Array) -> None:
    steps = np.arange(1, len(values) + 1)
    every = max(1, len(values) // 7)
    axes.plot(
        steps,
        values,
        **player.look.line(),
        marker=player.look.mark,
        markersize=4.5,
        markevery=(every // 2, every),
        label=shortened(player.label),
    )


def _plane(group: Group, tension: tuple[str, str], prefix: str) -> Picture:
    """What attracts at once against what decides the rest, a path a policy."""
    across, up = tension
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for player in group.players:
            playback = player.playback
            steps = drawn_steps(playback.playing)
            paths = [
                mean_over(numbers_of(playback, name), playback.playing)[:steps] for name in tension
            ]
            x, y = (smoothed(path) for path in paths)
            look = player.look
            axes.plot(x, y, **look.line(), label=shortened(player.label))
            axes.plot(x[0], y[0], look.mark, color=look.colour, markersize=6, fillstyle="none")
            axes.plot(x[-1], y[-1], look.mark, color=look.colour, markersize=9)
            said.append(
                f"{player.label}: {across} {figure_of(float(paths[0].mean()))}, "
                f"{up} {figure_of(float(paths[1].mean()))}"
            )
        first = group.players[0].playback
        if across in first.offered and up in first.offered:
            offered = [float(mean_over(first.offered[n], first.playing)[0]) for n in tension]
            axes.plot(*offered, "o", color=PALE, markersize=14, zorder=1, label="all offered")
        tidy(axes, "What attracts now, and what matters later", f"{across}, shown")
        axes.set_ylabel(up)
        axes.margins(0.1)
        legend(axes)
        return finish(
            figure,
            f"{prefix}tension",
            f"{up} against {across}, means over a session: {'; '.join(said)}.",
            "Each path is the mean over users, from the first step (small mark) to the last ones "
            "(large mark). To the right is what attracts at once.",
        )


def smoothed(values: Array, most: int = 12) -> Array:
    """A path of at most so many points, each the mean of a stretch, (T,)."""
    return np.array([part.mean() for part in np.array_split(values, min(most, len(values)))])


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


def _kinds(group: Group, prefix: str) -> Picture:
    """How many kinds a session holds, over users."""
    first, said = group.players[0].playback, []
    kind = first.topic_kind
    with drawing(HALF[0], max(HALF[1], 1.3 + 0.42 * len(group.players))) as figure:
        axes = figure.subplots()
        for row, player in enumerate(group.players):
            found = effective_kinds(kind_counts(player.playback))
            low, middle, high = (float(q) for q in np.quantile(found, [0.05, 0.5, 0.95]))
            axes.plot([low, high], [-row, -row], color=player.look.colour, linewidth=2)
            axes.plot(middle, -row, player.look.mark, color=player.look.colour, markersize=8)
            above(axes, f"{middle:.1f}", (middle, -row))
            said.append(f"{player.label} {middle:.1f}")
        tidy(axes, f"{kind.capitalize()}s in a session", f"effective number of {kind}s")
        names = [shortened(player.label, 18) for player in group.players]
        axes.set_yticks([-row for row in range(len(names))], names, color=INK)
        axes.set_ylim(-len(names) + 0.4, 0.7)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        return finish(
            figure,
            f"{prefix}kinds",
            f"Effective number of {kind}s shown in a session, median over users: "
            f"{', '.join(said)}, of {len(first.topic_names)}.",
            f"So many equally frequent {kind}s would be as varied as what a user is shown; bars "
            f"hold nine in ten users. There are {len(first.topic_names)}.",
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


def _maps(group: Group, prefix: str) -> Picture:
    """Shares of kinds over steps, a map a policy, with one scale."""
    players = group.players[:_MOST_MAPS]
    first = players[0].playback
    shares = [shares_over_time(player.playback, 60) for player in players]
    top = max(float(share.max()) for share in shares)
    columns = min(3, len(players))
    rows = -(-len(players) // columns)
    height = 1.0 + rows * max(1.7, min(3.2, 0.14 * len(first.topic_names) + 0.7))
    with drawing(WIDE, height) as figure:
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
            f"Dark where a {first.topic_kind} is shown much at that step of a session, with one "
            "scale for all.",
        )


def _name_kinds(axes: Axes, names: Sequence[str]) -> None:
    every = -(-len(names) // 20)
    places = range(0, len(names), every)
    axes.set_yticks(list(places), [shortened(names[place], 18) for place in places], fontsize=8)


def _favourites(share: Array, playback: Playback) -> str:
    mean: Any = share.mean(axis=1)
    best = np.argsort(-mean)[:2]
    return " and ".join(f"{playback.topic_names[place]} {mean[place]:.0%}" for place in best)


def _exploration(group: Group, prefix: str) -> Picture:
    """Entropy of the slates when acting as in training, in shares of the largest there is."""
    said = []
    with drawing() as figure:
        axes = figure.subplots()
        for player in group.players:
            playback = player.playback
            if playback.spread is None:
                continue
            steps = drawn_steps(playback.playing)
            _line(axes, player, mean_over(playback.spread, playback.playing)[:steps])
            said.append(f"{player.label} {_spread(player):.0%}")
        tidy(axes, "Entropy of the slates, acting as in training", "step of the session")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(-0.03, 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)
        return finish(
            figure,
            f"{prefix}exploration",
            "Entropy of the distribution of slates over that of uniformly random ones, mean over "
            f"a session: {', '.join(said)}.",
            "100 % is as varied as random slates, 0 % is always the best slate. What a run earns "
            "on this page, it earns with its best slates.",
        )
