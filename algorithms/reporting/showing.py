"""Pictures of what policies show over a session: numbers, kinds, and how much they vary."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from algorithms.reporting.group import Group, Player
from algorithms.reporting.kinds import kinds_at_once, kinds_in_session, kinds_over_time
from algorithms.reporting.playing import Array, Playback
from algorithms.reporting.rows import drawn_steps, height, name_rows, put_row
from algorithms.reporting.style import (
    HALF,
    PALE,
    Picture,
    drawing,
    figure_of,
    finish,
    legend,
    mean_over,
    shortened,
    tidy,
)

_MOST_NUMBERS = 4


def showing_pictures(group: Group, prefix: str) -> list[Picture]:
    """All that the world lets be shown of its documents and users; none without users."""
    if not group.players:
        return []
    first = group.players[0].playback
    found: list[Picture] = []
    numbers = [("shown", name) for name in first.shown] + [("users", n) for n in first.users]
    numbers = [each for each in numbers if any(_varies(p.playback, each) for p in group.players)]
    numbers = numbers[:_MOST_NUMBERS]
    files = [f"{prefix}shown-{place}" for place in range(len(numbers))]
    if first.steps == 1:
        found = [_at_once(group, *each, file) for each, file in zip(numbers, files, strict=True)]
    else:
        if first.tension is not None:
            found.append(_plane(group, first.tension, prefix))
        found += [_over_time(group, *each, file) for each, file in zip(numbers, files, strict=True)]
        if any(np.ptp(p.playback.reward[p.playback.playing]) > 0 for p in group.players):
            found.append(_rewards(group, prefix))
    if any(_spread(player) > 0 for player in group.runs):
        found.append(_exploration(group, prefix))
    if first.topic is not None and len(first.topic_names) > 1:
        found += (
            [kinds_in_session(group, prefix), kinds_over_time(group, prefix)]
            if first.steps > 1
            else [kinds_at_once(group, prefix)]
        )
    return found


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


def _at_once(group: Group, kind: str, name: str, file: str) -> Picture:
    """A number where sessions have one step: its spread over users, a row a policy."""
    rows, said = [(player.label, player) for player in group.players], []
    with drawing(HALF[0], height(rows)) as figure:
        axes = figure.subplots()
        for row, (_, player) in enumerate(rows):
            values = numbers_of(player.playback, name)[player.playback.playing].ravel()
            mean = float(values.mean())
            put_row(axes, row, player, values, mean, figure_of(mean))
            said.append(f"{player.label} {figure_of(mean)}")
        first = group.players[0].playback
        if name in first.offered:
            offered = float(first.offered[name][first.playing].mean())
            axes.axvline(offered, color=PALE, linewidth=4, zorder=1, label="all offered")
            legend(axes)
        name_rows(axes, f"{name[0].upper()}{name[1:]}", "mean, and nine in ten users", rows)
        return finish(figure, file, f"Mean {name}, {kind}: {', '.join(said)}.")


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
