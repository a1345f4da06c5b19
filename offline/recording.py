"""What was played, as rows of the log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algorithms.core.agent import ActionDistribution
from algorithms.core.collect import Recorder
from algorithms.core.fragment import Fragment, Step
from algorithms.core.slates import SlateDistribution
from envs.registry import make_simulator
from offline.log import Header, LogError, LogWriter, Pseudonyms, Rows
from offline.log.pseudonyms import VARIABLE
from offline.log.rows import Array
from offline.log.schema import HEADER, read_header


@dataclass(frozen=True)
class Acting:
    """Who acted.

    Attributes:
        policy: its name.
        version: of its weights.
        arm: of an experiment with several policies; empty where there is one.
    """

    policy: str
    version: str
    arm: str = ""


def header_of(world: Mapping[str, Any]) -> Header:
    """The header of what is played in a world.

    Raises:
        LogError: it has no slates.
    """
    simulator = make_simulator(num_users=1, **world)
    plain = {key: value for key, value in world.items() if key not in ("history", "device")}
    return Header(
        spec=simulator.spec,
        history=simulator.history,
        reward=simulator.reward_name,
        clock="simulated",
        world=plain,
    )


def rows_of(
    steps: Sequence[Step], kept: Array, sessions: Array, numbers: Array, acting: Acting
) -> Rows:
    """Rows of T steps of B users, a user's steps one after the other.

    Args:
        steps: with the distributions that the slates were drawn from.
        kept: which to take, (T, B) bool.
        sessions: ids, (T, B).
        numbers: of the steps in their sessions, (T, B).
        acting: who chose the slates.
    """
    chosen = kept.T

    def each(read: Callable[[Step], Tensor]) -> Array:
        values: Array = np.stack([read(step).cpu().numpy() for step in steps], axis=1)
        return values[chosen]

    session, number = sessions.T[chosen], numbers.T[chosen]
    impressions = [f"{a}-{b}" for a, b in zip(session.tolist(), number.tolist(), strict=True)]
    slate = each(lambda step: step.slates)
    mask = each(lambda step: step.observation.mask)
    ids = np.array([[f"{a}-{n}" for n in range(mask.shape[1])] for a in impressions], object)
    ids = ids.reshape(mask.shape)
    slots = each(lambda step: step.slot_log_probs).astype(np.float32)
    words = {
        "catalogue": "",
        "propensity_source": "exact",
        "policy": acting.policy,
        "policy_version": acting.version,
        "arm": acting.arm,
    }
    return Rows(
        {
            "session_id": session,
            "user_id": session,
            "step": number,
            "time": number.astype(np.float64),
            "impression_id": np.array(impressions, object),
            "user": each(lambda step: step.observation.user),
            "candidate_ids": ids,
            "candidates": each(lambda step: step.observation.candidates),
            "mask": mask,
            "pinned": np.full(slate.shape, -1),
            "history": each(lambda step: step.observation.history),
            "slate": slate,
            "slate_ids": np.take_along_axis(ids, slate, axis=1),
            "log_propensity": slots.sum(axis=1),
            "slot_log_propensities": slots,
            "log_weights": each(lambda step: _slates(step.distribution).log_weights),
            "epsilon": each(lambda step: _constant(step, _slates(step.distribution).epsilon)),
            "temperature": each(
                lambda step: _constant(step, _slates(step.distribution).temperature)
            ),
            "greedy": each(_greedy),
            "response": each(lambda step: step.transition.response),
            "reward": each(lambda step: step.transition.reward),
            "terminated": each(lambda step: step.transition.terminated),
            "truncated": each(lambda step: step.transition.truncated),
            **{name: np.full(len(slate), word, object) for name, word in words.items()},
        }
    )


def _slates(distribution: ActionDistribution | None) -> SlateDistribution:
    assert isinstance(distribution, SlateDistribution)
    return distribution


def _constant(step: Step, value: float) -> Tensor:
    return torch.full((len(step.slates),), value, dtype=torch.float64)


def _greedy(step: Step) -> Tensor:
    greedy = _slates(step.distribution).greedy
    return torch.full_like(step.slates, -1) if greedy is None else greedy


@dataclass(frozen=True)
class TrainingRecorders:
    """Makes a recorder for each runner; plain data, so that it can travel to workers."""

    folder: Path
    header: Header
    policy: str

    def __call__(self, worker: int) -> Recorder:
        """The recorder of a runner, by its index.

        Raises:
            LogError: ids are hashed, and the runner's process has not the same key.
        """
        # Found anew by each runner: what travels is also written into checkpoints.
        key = Pseudonyms.find(None)
        if (None if key is None else key.mark) != self.header.pseudonyms:
            raise LogError(
                f"{VARIABLE} of runner {worker} is not that of the process that trains; set the "
                "same on all machines"
            )
        return TrainingRecorder(self.folder, self.header, self.policy, worker, key)


def training_recorder(
    folder: str, world: Mapping[str, Any], policy: str
) -> Callable[[int], Recorder]:
    """What `algorithms.train` asks for where its config says `train.record`.

    Raises:
        LogError: the world has no slates, the key in `RECSIM_LOG_KEY` is too short, or the
            folder holds another log, also one of another world, or cannot be written.
    """
    key = Pseudonyms.find(None)
    header = replace(header_of(world), pseudonyms=None if key is None else key.mark)
    found = TrainingRecorders(Path(folder).resolve(), header, policy)
    _check_world(found.folder, header)
    with LogWriter(found.folder, found.header):
        return found


def _check_world(folder: Path, header: Header) -> None:
    """Refuse to go on with a log of another world."""
    if not (folder / HEADER).exists():
        return
    there = read_header(folder / HEADER).world
    if there != json.loads(json.dumps(header.world)):
        raise LogError(
            f"{folder} holds a log of another world, {json.dumps(there)}; record into a new folder"
        )


class TrainingRecorder:
    """Writes the fragments of one runner, a shard each.

    Sessions that were under way when recording began are left out, because their
    first steps are not known.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        policy: str,
        worker: int,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        """Begin with nothing known; a resumed run begins anew."""
        self._pseudonyms = pseudonyms
        self._folder, self._header, self._policy = folder, header, policy
        # Of its own, or a resumed run would name other sessions alike.
        self._name = f"{os.urandom(4).hex()}-{worker}"
        self._fragments = self._sessions = 0
        self._ids: Array | None = None
        self._numbers: Array = np.zeros(0, np.int64)

    def __call__(self, fragment: Fragment) -> None:
        """Write a fragment.

        Raises:
            LogError: the disk is full.
        """
        if not isinstance(fragment.steps[0].distribution, SlateDistribution):
            raise LogError(f"{self._policy} states no distribution over slates to record")
        sessions, numbers = self._follow(fragment)
        acting = Acting(self._policy, str(fragment.policy_version))
        rows = rows_of(fragment.steps, sessions != "", sessions, numbers, acting)
        name = f"part-{self._name}-{self._fragments:06d}"
        with LogWriter(self._folder, self._header, name=name) as writer:
            writer.write(rows)
        self._fragments += 1

    def _follow(self, fragment: Fragment) -> tuple[Array, Array]:
        """Session ids, empty where unknown, and numbers of steps, (T, B) each."""
        if self._ids is None:
            self._ids = np.full(fragment.num_users, "", object)
            self._numbers = np.zeros(fragment.num_users, np.int64)
        ids, numbers = [], []
        for step in fragment.steps:
            fresh = step.observation.has_response[:, 0].cpu().numpy() == 0
            begun = self._sessions + np.arange(int(fresh.sum()))
            self._ids = self._ids.copy()
            self._ids[fresh] = [self._named(number) for number in begun.tolist()]
            self._sessions += len(begun)
            self._numbers = np.where(fresh, 0, self._numbers)
            ids.append(self._ids)
            numbers.append(self._numbers)
            self._numbers = self._numbers + 1
        return np.stack(ids), np.stack(numbers)

    def _named(self, number: int) -> str:
        name = f"{self._name}-{number}"
        return name if self._pseudonyms is None else self._pseudonyms.of(name)
