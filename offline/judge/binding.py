"""Binds a log and the policies to judge into the columns that estimators read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from envs.simulator import Observation
from offline.judge.counts import Counts, check
from offline.judge.features import Inputs
from offline.judge.slates import SlateColumns
from offline.judge.stated import Stated, StatedSample
from offline.judge.target import NEEDED, Acting, Target
from offline.log import Log, Rows, starts
from offline.log.rows import Array
from offline.observed import STATED
from offline.ope.ragged import Floats, Ints

COLUMNS = tuple(
    dict.fromkeys(
        (
            *NEEDED,
            *STATED,
            "log_propensity",  # read to be checked against its slots
            "slot_log_propensities",
            "propensity_source",
            "reward",
            "policy",
            "policy_version",
            "arm",
        )
    )
)
_BATCH = 8192
_CANDIDATES = 250_000
"""Candidates that are looked at together, so that memory does not grow with their number."""


@dataclass(frozen=True)
class Wanted:
    """What to collect, beside propensities.

    Attributes:
        models: inputs for the models of value.
        slates: columns for the estimators of slates, where sessions have one step.
        inverse: of these the costly weights of `pi`, however many rows there are.
        arm: of an experiment; all if not given.
    """

    models: bool = True
    slates: bool = True
    inverse: bool = False
    arm: str | None = None


@dataclass(frozen=True, eq=False)
class Judged:
    """Columns of one target; those of `Bound` that depend on it.

    Attributes:
        slots: log-probability of each logged slot given the earlier ones, (R, K).
        means: inputs of the models in the mean over the target, (R, F).
        slates: columns of `Logged` for the estimators of slates, and `mean_slot_inputs`.
    """

    slots: Floats
    means: Array | None
    slates: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Bound:
    """A log as estimators read it: R rows, S sessions, K slots.

    Rows with fewer slots than K have log-probability 0 in the others.

    Attributes:
        offsets: (S + 1,).
        reward: (R,).
        behaviour: log-probability of each slot given the earlier ones, (R, K).
        inputs: of the models, of what was shown, (R, F).
        targets: the policies to judge.
        slates: columns of `Logged` for the estimators of slates that depend on the log
            alone, and `slot_inputs`.
        lacking: why columns are missing, by their names in `Logged`.
        counts: what was read.
        stated: what the log says of its own choices; `None` where it does not.
    """

    offsets: Ints
    reward: Floats
    behaviour: Floats
    inputs: Array | None
    targets: list[Judged]
    slates: dict[str, Array]
    lacking: dict[str, str]
    counts: Counts
    stated: Stated | None


def bind(
    log: Log,
    targets: Sequence[Target],
    wanted: Wanted | None = None,
    progress: Callable[[int], None] | None = None,
) -> Bound:
    """Read a log once, with the policies to judge.

    Args:
        log: whole sessions are taken; memory grows with rows by their scalars and model
            inputs alone.
        targets: policies that fit the log.
        wanted: everything if not given.
        progress: is told how many rows were read.

    Raises:
        LogError: faults of the log, no whole session, rows without propensities.
    """
    collector = _Collector(targets, wanted or Wanted(), Inputs(log.header.spec))
    done = 0
    for rows in log.sessions(_BATCH, COLUMNS):
        kept = collector.kept(rows)
        for part in _parts(kept, max(256, _CANDIDATES // max(1, rows["mask"].shape[1]))):
            collector.add(part)
        done += len(rows)
        if progress is not None:
            progress(done)
    return collector.result(list(dict.fromkeys(folder for _, folder in log.shards)))


class _Collector:
    """Collects columns, batch by batch."""

    def __init__(self, targets: Sequence[Target], wanted: Wanted, inputs: Inputs) -> None:
        self._targets, self._wanted, self._inputs = targets, wanted, inputs
        self._counts, self._lengths = Counts(), [np.zeros(1, np.int64)]
        self._columns: dict[str, list[Array]] = {}
        self._slates: SlateColumns | None = None
        if wanted.slates:
            self._slates = SlateColumns(len(targets), inputs, wanted.inverse)
        self._stated = StatedSample()
        self._generator = torch.Generator().manual_seed(0)

    def kept(self, rows: Rows) -> Rows:
        """Rows of whole sessions, of the arm that was asked for."""
        first = starts(rows)
        if not len(first):
            return rows
        length = np.diff(first, append=len(rows))
        last = first + length - 1
        ended = rows["terminated"][last] | rows["truncated"][last]
        chosen = np.ones(len(first), np.bool_)
        if self._wanted.arm is not None:
            arms = rows["arm"][first]
            self._counts.names |= set(arms.tolist())
            chosen = np.asarray(arms == self._wanted.arm, np.bool_)
        self._counts.skipped += int(length[~chosen].sum())
        self._counts.open_sessions += int((chosen & ~ended).sum())
        self._counts.open_rows += int(length[chosen & ~ended].sum())
        taken = chosen & ended
        return rows if taken.all() else rows.take(np.repeat(taken, length))

    @torch.no_grad()
    def add(self, rows: Rows) -> None:
        """Take rows of whole sessions."""
        if not len(rows):
            return
        first = starts(rows)
        self._counts.add(rows, first)
        self._lengths.append(np.diff(first, append=len(rows)))
        if "none" in self._counts.sources:
            return  # refused at the end, with numbers
        shown = rows["slate"] >= 0
        self._put("reward", rows["reward"].astype(np.float64))
        self._put("behaviour", np.where(shown, rows["slot_log_propensities"], 0.0))
        views = [target.observation(rows) for target in self._targets]
        acting = [
            list(target.distributions(seen, rows))
            for target, seen in zip(self._targets, views, strict=True)
        ]
        for number, parts in enumerate(acting):
            self._put(f"target {number}", _slot_logs(parts, rows))
        items = self._inputs.items(views[0])
        if self._wanted.models:
            self._models(rows, views[0], items, acting)
        self._stated.add(rows)
        if self._slates is not None:
            self._slates.add(rows, items, acting)

    def _models(
        self, rows: Rows, seen: Observation, items: Tensor, acting: Sequence[Acting]
    ) -> None:
        """Inputs of the models; what is remembered is the log's, or else the first target's."""
        if rows["history"].shape[1]:
            seen = seen._replace(history=torch.from_numpy(rows["history"]))
        state = self._inputs.state(seen, torch.from_numpy(rows["step"]))
        slates = torch.from_numpy(np.clip(rows["slate"], 0, None))
        if (rows["slate"] < 0).any():  # a row of zeros for slots that are not there
            items = torch.cat([items, items.new_zeros(len(items), 1, items.shape[2])], dim=1)
            slates = torch.from_numpy(np.where(rows["slate"] < 0, items.shape[1] - 1, slates))
        self._put("inputs", self._inputs.of_slate(state, items, slates).numpy())
        offered, luck = rows["mask"].shape[1], self._generator.get_state()
        for number, parts in enumerate(acting):
            # By the same draws, so that two policies that act alike differ by nothing.
            self._generator.set_state(luck)
            means: Array | None = None
            for index, wanted in parts:
                found = self._inputs.of_target(
                    state[index], items[index, :offered], wanted, self._generator
                ).numpy()
                if means is None:
                    means = np.empty((len(rows), found.shape[1]), np.float32)
                means[index] = found
            if means is not None:
                self._put(f"means {number}", means)

    def _put(self, name: str, values: Array) -> None:
        self._columns.setdefault(name, []).append(values)

    def result(self, folders: Sequence[Path]) -> Bound:
        """All columns, or a sentence why a log in such folders gives none."""
        check(self._counts, self._wanted.arm, folders)
        columns = {name: _joined(parts) for name, parts in self._columns.items()}
        slates: dict[str, Array] = {}
        apart: list[dict[str, Array]] = [{} for _ in self._targets]
        lacking: dict[str, str] = {}
        if self._slates is not None:
            slates, apart, lacking = self._slates.result()
        return Bound(
            offsets=np.concatenate(self._lengths).cumsum(),
            reward=columns["reward"],
            behaviour=columns["behaviour"],
            inputs=columns.get("inputs"),
            targets=[
                Judged(columns[f"target {number}"], columns.get(f"means {number}"), apart[number])
                for number in range(len(self._targets))
            ],
            slates=slates,
            lacking=lacking,
            counts=self._counts,
            stated=self._stated.result(),
        )


def _slot_logs(parts: Acting, rows: Rows) -> Floats:
    """Log-probability of each logged slot under a target, (rows, K)."""
    found = np.zeros(rows["slate"].shape)
    for index, wanted in parts:
        slates = torch.from_numpy(rows["slate"][index][:, : wanted.slate_size])
        found[index, : wanted.slate_size] = wanted.slot_log_prob(slates).numpy()
    return found


def _parts(rows: Rows, most: int) -> list[Rows]:
    """Whole sessions in parts of about so many rows."""
    if len(rows) <= most:
        return [rows]
    first = starts(rows)
    cuts = [0]
    for begin in np.searchsorted(first, np.arange(most, len(rows), most)).tolist():
        if begin < len(first) and first[begin] > cuts[-1]:
            cuts.append(int(first[begin]))
    return [rows.take(slice(a, b)) for a, b in zip(cuts, [*cuts[1:], len(rows)], strict=True)]


def _joined(parts: list[Array]) -> Array:
    """Columns one after the other, widened with 0."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    widest = max(part.shape[1] for part in parts)
    return np.concatenate([_wider(part, widest, 0.0) for part in parts])


def _wider(part: Array, width: int, fill: float) -> Array:
    """(rows, width), with something in the columns that were not there."""
    missing = width - part.shape[1]
    return part if not missing else np.pad(part, ((0, 0), (0, missing)), constant_values=fill)
