"""The file that holds the training log's distributions, to measure drift against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.spec import Feature, FeatureSpec
from offline.log.files import write_whole
from serve.watching.drift import Array, Baseline

if TYPE_CHECKING:
    from offline.log import Log, Rows

REFERENCE = "reference.json"
"""In the state folder."""

VERSION = 1
USER, CANDIDATE, PROPENSITY = "user", "candidate", "propensity"

_ROWS = 20_000
"""Of the log that are looked at, at most twice as many."""

_NUMBERS = 5_000_000
"""Of their candidates' features."""

_COLUMNS = ("step", "user", "candidates", "mask", "slate", "pinned", "slot_log_propensities")


class ReferenceFault(ValueError):
    """A file of reference, or a log for one, that cannot be used; one sentence."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a training log looked like.

    Attributes:
        source: the log.
        rows: of it that were looked at.
        groups: by `user` (as sessions begin: later rows are no new users), `candidate` (of
            those that could be shown) and `propensity` (log-probability of each free slot);
            the last is missing where the log has none.
    """

    source: str
    rows: int
    groups: Mapping[str, Baseline]

    def write(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            LogError: the disk is full, or the folder cannot be written.
        """
        groups = {
            name: {
                "features": [list(feature) for feature in base.features],
                # JSON has no infinity.
                "edges": [[edge for edge in row if np.isfinite(edge)] for row in base.edges],
                "counts": base.counts.tolist(),
                "mean": base.mean.tolist(),
                "std": base.std.tolist(),
            }
            for name, base in self.groups.items()
        }
        plain = {
            "reference_version": VERSION,
            "source": self.source,
            "rows": self.rows,
            "groups": groups,
        }
        write_whole(path, (json.dumps(plain, allow_nan=False) + "\n").encode())


def load_reference(path: Path, spec: FeatureSpec) -> Reference:
    """A file of reference for an endpoint with these features.

    Raises:
        ReferenceFault: it is damaged, or of other features.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["reference_version"] != VERSION:
            raise ValueError(f"it has version {data['reference_version']}, not {VERSION}")
        groups = {name: _baseline(group) for name, group in data["groups"].items()}
        found = Reference(str(data["source"]), int(data["rows"]), groups)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ReferenceFault(
            f"{path} cannot be used ({error}); make it again with `python -m serve.reference`"
        ) from None
    for name, group in ((USER, spec.user), (CANDIDATE, spec.candidate)):
        if name not in groups or groups[name].features != _features(group):
            raise ReferenceFault(
                f"{path} has other {name} features than this endpoint; make it of a log with the "
                "same features"
            )
    return found


def _baseline(group: Mapping[str, Any]) -> Baseline:
    counts = np.array(group["counts"], np.float64)
    edges = np.full((len(counts), counts.shape[1] - 1), np.inf)
    for row, given in zip(edges, group["edges"], strict=True):
        row[: len(given)] = given
    features = tuple((str(name), int(size)) for name, size in group["features"])
    mean, std = np.array(group["mean"], np.float64), np.array(group["std"], np.float64)
    columns = sum(size for _, size in features)
    if not len(counts) == len(mean) == len(std) == columns:
        raise ValueError("its columns do not fit its features")
    return Baseline(features, edges, counts, mean, std)


def _features(group: Sequence[Feature]) -> tuple[tuple[str, int], ...]:
    return tuple((feature.name, feature.size) for feature in group)


def refer(source: str, state: Path) -> Reference:
    """Make a log the reference of an endpoint; running replicas take it at once.

    Args:
        source: folder of a log, a file, or a pattern.
        state: folder of the endpoint.

    Raises:
        DeployError, LogError, ReferenceFault: there is no endpoint or no log, their features
            differ, or the file cannot be written.
    """
    from offline.log import open_log
    from serve.state import read_serving_header

    spec, log = read_serving_header(state).spec, open_log(source)
    for name in (USER, CANDIDATE):
        own, kept = _features(getattr(log.header.spec, name)), _features(getattr(spec, name))
        if own != kept:
            words = [", ".join(f"{feature} ({size})" for feature, size in f) for f in (own, kept)]
            raise ReferenceFault(
                f"the log in {source} has the {name} features {words[0]}, and the endpoint in "
                f"{state} has {words[1]}; name the log that its policy learned from"
            )
    found = reference_of(log, source)
    found.write(state / REFERENCE)
    return found


def reference_of(log: Log, source: str) -> Reference:
    """What an even sample of a log's rows looks like.

    Raises:
        LogError: the log has a fault.
        ReferenceFault: no session begins in it.
    """
    spec = log.header.spec
    users, sample = _sample(log)
    rows = sum(map(len, sample))
    if not rows or not len(users):
        raise ReferenceFault(f"no session begins in the log in {source}; name another")
    parts: dict[str, list[Array]] = {USER: [users], CANDIDATE: [], PROPENSITY: []}
    each = max(1, _NUMBERS // (rows * spec.candidate_size))
    random = np.random.default_rng(0)
    for some in sample:
        shown = random.permutation(some["mask"].shape[1])[:each]
        parts[CANDIDATE].append(some["candidates"][:, shown][some["mask"][:, shown]])
        free = (some["slate"] >= 0) & (some["pinned"] < 0)
        parts[PROPENSITY].append(some["slot_log_propensities"][free][:, None])
    names = {
        USER: _features(spec.user),
        CANDIDATE: _features(spec.candidate),
        PROPENSITY: (("slot", 1),),
    }
    groups = {}
    for name, found in parts.items():
        values = np.concatenate(found).astype(np.float64)
        values = rounded(values[np.isfinite(values).all(axis=1)])
        if len(values):
            groups[name] = Baseline.of(names[name], values)
    return Reference(source, rows, groups)


def _sample(log: Log) -> tuple[Array, list[Rows]]:
    """Users of sessions' first rows, and rows: even samples, in bounded memory."""
    from offline.judge.sampling import Sample

    random, share, starts = np.random.default_rng(0), 1.0, Sample(_ROWS)
    kept: list[tuple[Rows, Array]] = []
    for rows in log.batches(columns=_COLUMNS):
        begun = rows["user"][rows["step"] == 0]
        index, chosen = starts.choose(len(begun))
        starts.add(chosen, begun[index])
        drawn = random.random(len(rows))
        kept.append(_below(rows, drawn, share))
        while sum(len(keys) for _, keys in kept) > 2 * _ROWS:
            share /= 2
            kept = [_below(rows, keys, share) for rows, keys in kept]
    if not kept:
        return np.zeros((0, log.header.spec.user_size)), []
    return starts.columns()[0], [rows for rows, keys in kept if len(keys)]


def _below(rows: Rows, keys: Array, share: float) -> tuple[Rows, Array]:
    flags = keys < share
    return rows.take(flags), keys[flags]


def rounded(values: Array) -> Array:
    """Without the last digits of float32, which differ between machines."""
    return np.round(values, 5)
