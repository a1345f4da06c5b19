"""Estimates propensities of a log: models fitted on other sessions, a copy with what they say."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from offline.data.encoding import FILE as ENCODING
from offline.data.encoding import has_sampled_candidates
from offline.exporting.folder import refuse_existing, whole_folder
from offline.log import COLUMNS, Log, LogError, LogWriter, Rows, concatenate
from offline.log.files import write_whole
from offline.propensities.calibration import Calibration
from offline.propensities.model import (
    CONTEXTS,
    Inputs,
    Logit,
    Reader,
    as_numpy,
    conditionals,
    fit,
    slot_log_probs,
)

READ = (
    "session_id",
    "user",
    "candidates",
    "mask",
    "history",
    "slate",
    "pinned",
    "propensity_source",
)
_LARGEST = 2.0**64


@dataclass(frozen=True)
class Settings:
    """How to estimate.

    Attributes:
        folds: parts of the sessions; each is judged by a model of the others.
        context: what of the user the policy may have looked at: `none`, `user`, `history`.
        ridge: see `model.fit`.
        rows: that models are fitted to, at most; whole sessions, chosen by hash.
    """

    folds: int = 5
    context: str = "history"
    ridge: float = 1.0
    rows: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what estimates nothing."""
        if self.folds < 2:
            raise LogError(f"folds is {self.folds}; cross-fitting needs at least 2")
        if self.context not in CONTEXTS:
            raise LogError(f"context is '{self.context}'; allowed are: {', '.join(CONTEXTS)}")
        if not 0 <= self.ridge < math.inf or self.rows < 1:
            raise LogError(
                f"ridge is {self.ridge} and rows {self.rows}; the ridge must not be negative, and "
                "there must be rows to fit to"
            )


class Report(NamedTuple):
    """What came of it; log-likelihoods are means over slates, held out.

    Attributes:
        rows: of the log.
        fitted: rows that models were fitted to, over all folds.
        folds: parts of the sessions.
        log_likelihood: of what was shown, under the models.
        uniform: the same under uniform slates.
        smallest: log-propensity of the most unlikely slate.
        calibration: of candidates in slots.
    """

    rows: int
    fitted: int
    folds: int
    log_likelihood: float
    uniform: float
    smallest: float
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        bins = [{"candidates": n, "predicted": p, "actual": s} for n, p, s in self.calibration.rows]
        return {
            **{k: v for k, v in self._asdict().items() if k != "calibration"},
            "calibration_error": self.calibration.error,
            "calibration_error_by_chance": self.calibration.chance,
            "calibration": bins,
        }


def fold_of(sessions: NDArray[Any], folds: int) -> NDArray[np.int64]:
    """The fold of each row by its session, and the same in every run, (rows,)."""
    return (_hashes(sessions, b"fold") * folds).astype(np.int64)


def _hashes(sessions: NDArray[Any], person: bytes) -> NDArray[np.float64]:
    """A number from 0 to 1 for each session id, the same in every run."""

    def number(name: str) -> float:
        digest = hashlib.blake2b(name.encode(), digest_size=8, person=person).digest()
        return min(int.from_bytes(digest, "big") / _LARGEST, 1 - 2**-53)

    known = {name: number(name) for name in set(sessions.tolist())}
    return np.array([known[name] for name in sessions.tolist()])


def estimate(log: Log, target: Path, settings: Settings) -> Report:
    """Write a copy of a log with estimated propensities and slate distributions.

    Raises:
        LogError: the log has exact propensities or candidates that nobody was offered, too
            few sessions, faults, or the disk is full.
    """
    refuse_existing(target)
    folders = list(dict.fromkeys(folder for _, folder in log.shards))
    if any(target.resolve().is_relative_to(folder) for folder in folders):
        raise LogError(f"{target} lies within the log that it would copy; choose another folder")
    _refuse_sampled(folders)
    rows, sample = _sampled(log, settings.rows)
    reader = Reader(log.header.spec, settings.context)
    inputs, fold = reader(sample), torch.from_numpy(fold_of(sample["session_id"], settings.folds))
    models = []
    for number in range(settings.folds):
        there = int((fold == number).sum())
        if there in (0, len(sample)):
            raise LogError(
                f"there are too few sessions for {settings.folds} folds; give fewer --folds or "
                "more sessions"
            )
        models.append(fit(inputs.take(fold != number), reader.id_counts, settings.ridge))
    calibration = Calibration.of(_predictions(models, inputs, fold))
    writing = _Writing(reader, models, calibration)
    with whole_folder(target) as partial:
        _write(log, partial, writing)
    return Report(
        rows,
        len(sample),
        settings.folds,
        writing.likelihood / rows,
        writing.uniform / rows,
        writing.smallest,
        calibration,
    )


def _write(log: Log, target: Path, writing: _Writing) -> None:
    """The log's files anew, and what lies beside them as it is."""
    for folder in {folder: None for _, folder in log.shards}:
        for file in [*folder.glob("catalogue-*.jsonl"), *folder.glob(ENCODING)]:
            write_whole(target / file.name, file.read_bytes())
    for number, shard in enumerate(log.shards):
        one = Log(log.header, (shard,))
        format = "parquet" if shard[0].suffix == ".parquet" else "json"
        with LogWriter(target, log.header, name=f"part-{number:05d}", format=format) as writer:
            for batch in one.batches(columns=tuple(COLUMNS)):
                writer.write(writing.estimated(batch))


def _refuse_sampled(folders: list[Path]) -> None:
    for folder in folders:
        if has_sampled_candidates(folder):
            raise LogError(
                f"the candidates in {folder} were sampled when the log was made out of tables, "
                "and nobody was offered them, so no policy chose among them: there are no "
                "propensities to estimate"
            )


def _sampled(log: Log, largest: int) -> tuple[int, Rows]:
    """How many rows there are, and whole sessions to fit to, which do not grow with the log."""
    total, threshold = 0, 1.0
    kept: list[tuple[NDArray[np.float64], Rows]] = []
    for rows in log.batches(columns=READ):
        total += len(rows)
        exact = rows["propensity_source"] == "exact"
        if exact.any():
            raise LogError(
                "the log has exact propensities, in session "
                f"'{rows['session_id'][int(exact.argmax())]}' and maybe others; use them as they "
                "are"
            )
        kept.append((_hashes(rows["session_id"], b"sample"), rows))
        while True:
            kept = [
                (values[take], part.take(take)) for values, part, take in _below(kept, threshold)
            ]
            count = sum(len(part) for _, part in kept)
            if count <= largest or len({*np.concatenate([v for v, _ in kept]).tolist()}) < 2:
                break
            threshold /= 2
    return total, concatenate([part for _, part in kept if len(part)])


def _below(
    kept: list[tuple[NDArray[np.float64], Rows]], threshold: float
) -> Iterator[tuple[NDArray[np.float64], Rows, NDArray[np.bool_]]]:
    for values, part in kept:
        yield values, part, values < threshold


def _predictions(models: list[Logit], inputs: Inputs, fold: torch.Tensor) -> NDArray[Any]:
    found = []
    for number, model in enumerate(models):
        part = inputs.take(fold == number)
        found += [chance for chance, _ in conditionals(model.scores(part), part)]
    return as_numpy(torch.cat(found))


@dataclass
class _Writing:
    """Turns rows into rows with estimates, and counts how good these are."""

    reader: Reader
    models: list[Logit]
    calibration: Calibration
    likelihood: float = 0.0
    uniform: float = 0.0
    smallest: float = 0.0

    def estimated(self, rows: Rows) -> Rows:
        inputs = self.reader(rows)
        fold = fold_of(rows["session_id"], len(self.models))
        scores = torch.zeros(inputs.mask.shape)
        for number, model in enumerate(self.models):
            there = torch.from_numpy(np.flatnonzero(fold == number))
            scores[there] = model.scores(inputs.take(there))
        # What stands where nothing can be shown does not matter, but must be a number.
        scores = scores.masked_fill(~inputs.mask, 0.0)
        slots = slot_log_probs(scores, inputs)
        whole = slots.sum(1)
        self.likelihood += float(whole.double().sum())
        self.uniform += float(slot_log_probs(torch.zeros_like(scores), inputs).double().sum())
        self.smallest = min(self.smallest, float(whole.min()))
        for chances, shown in conditionals(scores, inputs):
            self.calibration.add(as_numpy(chances), shown.numpy())
        count = len(rows)
        candidates = rows["candidates"]
        named = rows["catalogue"] != ""
        if named.any():
            candidates = np.where(named[:, None, None], np.float32(np.nan), candidates)
        return rows.replace(
            candidates=candidates,
            log_propensity=as_numpy(whole),
            slot_log_propensities=as_numpy(slots),
            log_weights=as_numpy(scores),
            epsilon=np.zeros(count),
            temperature=np.ones(count),
            greedy=np.full(rows["slate"].shape, -1),
            propensity_source=np.full(count, "estimated", object),
        )
