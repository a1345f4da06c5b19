"""Runs of one world with the baselines, on the same users."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from algorithms.environment import BUILD_ERRORS, World, on_backend
from algorithms.evaluation import EvaluationResult
from algorithms.policy import Policy, baseline
from algorithms.registry import baseline_names
from algorithms.reporting.playing import Playback, play_sessions
from algorithms.reporting.source import Source
from algorithms.reporting.style import Look, baseline_look, run_look
from envs.registry import make_simulator, world_class, world_names

USERS, SLOW_USERS = 1000, 100
"""How many users are played where torch plays them side by side, and where it does not."""


@dataclass(frozen=True)
class Player:
    """A policy that was played.

    Attributes:
        label: the run's, or the baseline's name.
        look: how it is drawn.
        playback: what happened.
        source: its run; `None` for a baseline.
    """

    label: str
    look: Look
    playback: Playback
    source: Source | None = None

    @property
    def result(self) -> EvaluationResult:
        """What each user came to."""
        return self.playback.result


@dataclass(frozen=True)
class Group:
    """Runs that share a world.

    Attributes:
        world: arguments of the world; `None` where runs have none that can be played.
        sources: the runs, in the order of the command line.
        looks: of the runs, by label.
        players: those of them that could be played, then the baselines.
        users: how many were played; 0 for none.
        seed: of their luck.
        notes: sentences about what is missing.
    """

    world: dict[str, Any] | None
    sources: tuple[Source, ...]
    looks: dict[str, Look]
    players: tuple[Player, ...]
    users: int
    seed: int
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the world."""
        return "no world" if self.world is None else str(self.world["name"])

    @property
    def runs(self) -> list[Player]:
        """The players that are runs."""
        return [player for player in self.players if player.source is not None]

    @property
    def baselines(self) -> list[Player]:
        """The players that are not."""
        return [player for player in self.players if player.source is None]

    @property
    def best_baseline(self) -> Player | None:
        """The one that earns most of those with the runs' knowledge."""
        return max(self.baselines, key=lambda each: each.result.mean_return.mean, default=None)


def grouped(sources: Sequence[Source]) -> list[tuple[dict[str, Any] | None, list[Source]]]:
    """Runs by the world that they can be compared in, in the order of the command line."""
    found: dict[str, tuple[dict[str, Any] | None, list[Source]]] = {}
    for source in sources:
        world = None if source.world is None else dict(source.world)
        if world is not None:
            world.pop("backend", None)
            world.pop("device", None)
        key = json.dumps(_whole(world), sort_keys=True)
        found.setdefault(key, (world, []))[1].append(source)
    return list(found.values())


def _whole(world: dict[str, Any] | None) -> dict[str, Any] | None:
    """With the arguments that are left out, so that saying a default makes no other world."""
    if world is None or world.get("name") not in world_names():
        return world
    taken = inspect.signature(world_class(world["name"])).parameters.values()
    return {**{each.name: each.default for each in taken}, **world}


def gather(
    sources: Sequence[Source], users: int | None, tick: Callable[[str], None]
) -> list[Group]:
    """Play every run, and the baselines of its world, with the same users.

    Args:
        sources: the runs.
        users: how many; as many as are quick if not given.
        tick: is told what is being played.

    Raises:
        ValueError: a world cannot be built here.
    """
    places = {source.label: place for place, source in enumerate(sources)}
    return [
        _group(world, tuple(members), places, users, tick) for world, members in grouped(sources)
    ]


def _group(
    world: dict[str, Any] | None,
    sources: tuple[Source, ...],
    places: dict[str, int],
    users: int | None,
    tick: Callable[[str], None],
) -> Group:
    looks = {source.label: run_look(places[source.label]) for source in sources}
    seed = sources[0].evaluation_seed
    playable = [source for source in sources if source.policy is not None]
    if world is None or not playable:
        why = "It has no world to play in." if playable else "There is no policy to play yet."
        return Group(world, sources, looks, (), 0, seed, (why,))
    played = _on_torch(world)
    # Gymnasium's environments and Google's users are stepped one after another.
    side_by_side = played["backend"] == "torch" and not _is_foreign(played)
    count = users or (USERS if side_by_side else SLOW_USERS)
    players: list[Player] = []
    notes: list[str] = []
    for source in playable:
        assert source.policy is not None
        tick(source.label)
        found = play_sessions(source.policy, played, count, seed)
        players.append(Player(source.label, looks[source.label], found, source))
    for place, (name, policy) in enumerate(_baselines(played, notes)):
        tick(name)
        found = play_sessions(policy, played, count, seed)
        players.append(Player(name.replace("_", " "), baseline_look(place), found))
    return Group(played, sources, looks, tuple(players), count, seed, tuple(notes))


def _on_torch(world: World) -> dict[str, Any]:
    """The world where users are played side by side, if it can be there."""
    found = dict(on_backend(world, "torch")[0])
    try:
        make_simulator(num_users=1, **found)
    except BUILD_ERRORS as error:
        raise ValueError(f"the world '{found['name']}' cannot be built: {error}") from None
    return found


def _is_foreign(world: World) -> bool:
    from envs.from_gymnasium import is_gymnasium_id

    return is_gymnasium_id(str(world["name"]))


def _baselines(world: World, notes: list[str]) -> list[tuple[str, Policy]]:
    """Those that can act in a world; a note says why another cannot."""
    simulator = make_simulator(num_users=1, **{**world, "history": []})
    found, unfit = [], []
    for name in baseline_names():
        try:
            policy = baseline(name, simulator.spec, simulator.history, simulator.slate_size)
        except ValueError:
            unfit.append(name.replace("_", " "))
            continue
        found.append((name, policy))
    if unfit:
        notes.append(f"Baselines that cannot act in this world are left out: {', '.join(unfit)}.")
    return sorted(found, key=lambda pair: pair[0] != "random")
