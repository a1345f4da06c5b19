"""Plays whole sessions into a log, chunk by chunk, here or on Ray workers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from algorithms.core.fragment import Step
from algorithms.environment import World
from algorithms.evaluation import CHUNK, one_thread, steps_of_sessions
from algorithms.policy import Policy
from envs.registry import make_simulator
from offline.log import Header, LogError, LogWriter, Pseudonyms
from offline.recording import Acting, rows_of


@dataclass(frozen=True)
class Target:
    """A policy to record.

    Attributes:
        policy: what acts, as it explores.
        acting: what the log says of it.
    """

    policy: Policy
    acting: Acting

    def mark(self, world: World) -> str:
        """What ids of its sessions begin with, so that several logs can be read as one.

        The same weights, exploration and world have the same, wherever they are recorded.
        """
        said = [self.acting.policy, asdict(self.policy.exploration), world]
        digest = hashlib.blake2b(json.dumps(said, sort_keys=True, default=str).encode())
        for name, weights in sorted(self.policy.agent.state_dict().items()):
            digest.update(name.encode() + weights.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:8]


@dataclass(frozen=True)
class Destination:
    """Where rows go, in which form, and what names of sessions are hashed with."""

    folder: Path
    header: Header
    format: str
    pseudonyms: Pseudonyms | None


class Task(NamedTuple):
    """Sessions to play side by side; one shard, whoever plays them.

    Attributes:
        number: of the shard.
        target: which policy, by its place.
        first: number of the first user.
        users: how many.
    """

    number: int
    target: int
    first: int
    users: int


class Played(NamedTuple):
    """What came of a task: the undiscounted return of each session, and rows."""

    returns: NDArray[np.float64]
    rows: int


def tasks_of(targets: int, users: int) -> list[Task]:
    """So many users for each target, all of them different."""
    chunks = [
        (target, target * users + first, min(CHUNK, users - first))
        for target in range(targets)
        for first in range(0, users, CHUNK)
    ]
    return [Task(number, *chunk) for number, chunk in enumerate(chunks)]


@torch.no_grad()
def play(task: Task, target: Target, world: World, seed: int, to: Destination) -> Played:
    """Play one task into one shard.

    Raises:
        LogError: the disk is full.
    """
    simulator = make_simulator(num_users=task.users, seed=seed, replace=False, **world)
    steps, playing = [], []
    with one_thread():
        for seen in steps_of_sessions(target.policy, simulator, task.first, seed, explore=True):
            shown = seen.recommended
            steps.append(
                Step(
                    seen.observation,
                    shown.slates,
                    shown.slot_log_probs,
                    {},
                    seen.transition,
                    shown.distribution,
                )
            )
            playing.append(seen.playing.cpu().numpy())
    kept = np.stack(playing)
    # Hashed before rows are made, because ids of candidates begin with the session's.
    mark = target.mark(world)
    names = [f"{mark}-{seed}-{task.first + user}" for user in range(task.users)]
    if to.pseudonyms is not None:
        names = [to.pseudonyms.of(name) for name in names]
    sessions = np.broadcast_to(np.array(names, object), kept.shape)
    numbers = np.broadcast_to(np.arange(len(steps))[:, None], kept.shape)
    rows = rows_of(steps, kept, sessions, numbers, target.acting)
    name = f"part-{task.number:06d}"
    _remove(to.folder, name)  # what a worker left that died, and whose task is done again
    try:
        with LogWriter(to.folder, to.header, name=name, format=to.format) as writer:
            writer.write(rows)
    except KeyboardInterrupt:
        _remove(to.folder, name)  # it may end within a session
        raise
    begins = np.flatnonzero(rows["step"] == 0)
    return Played(np.add.reduceat(rows["reward"].astype(np.float64), begins), len(rows))


def _remove(folder: Path, name: str) -> None:
    """Take away what a task has written."""
    for shard in folder.glob(f"{name}-*"):
        shard.unlink()


def play_all(
    tasks: Sequence[Task],
    targets: Sequence[Target],
    world: World,
    seed: int,
    to: Destination,
    workers: int = 0,
) -> Iterator[tuple[Task, Played]]:
    """Play tasks; the log does not depend on the number of workers.

    Args:
        tasks: to play.
        targets: that they name.
        world: arguments of `envs.registry.make_simulator`, with the history.
        seed: of the users' luck, and of the policies' own draws.
        to: where the rows go; with workers on other machines, a folder that all share.
        workers: Ray tasks at a time; 0 plays here. Ray must be running.

    Yields:
        Tasks as they end.

    Raises:
        LogError: the disk is full, or a worker was lost, again and again.
    """
    if workers:
        yield from _on_ray(tasks, targets, world, seed, to, workers)
        return
    for task in tasks:
        yield task, play(task, targets[task.target], world, seed, to)


def _on_ray(
    tasks: Sequence[Task],
    targets: Sequence[Target],
    world: World,
    seed: int,
    to: Destination,
    workers: int,
) -> Iterator[tuple[Task, Played]]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    remote: Callable[..., Any] = ray.remote(num_cpus=1)(play).remote
    shared = [ray.put(target) for target in targets]
    waiting = list(reversed(tasks))
    running: dict[Any, Task] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                task = waiting.pop()
                running[remote(task, shared[task.target], world, seed, to)] = task
            (done,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), ray.get(done)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        reason = str(error).partition("\n")[0].partition(".")[0]
        raise LogError(
            f"a worker of Ray was lost ({reason}); the sessions in {to.folder} are whole, but "
            "not all; record into a new folder"
        ) from None
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
