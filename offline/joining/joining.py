"""Joins a raw log of an endpoint into a log that `offline` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from offline.exporting.folder import refuse_existing, whole_folder
from offline.joining.chains import (
    NONE,
    Sessions,
    by_time,
    chosen_sessions,
    cut_sessions,
    keep,
    originals,
    parents,
)
from offline.joining.reading import (
    Fetch,
    Lines,
    RawLog,
    open_raw,
    read_feedback,
    read_impressions,
)
from offline.joining.report import Report
from offline.joining.winners import Responses, Winners, choose
from offline.joining.writing import Assembler, Plan
from offline.log import Header, LogError, LogWriter
from offline.log.catalogue import Catalogues
from offline.log.files import write_whole
from offline.log.rewards import check_reward
from offline.log.rows import Array
from offline.log.write import FORMATS

REPORT = "join.json"
"""Beside the log's header: what was counted."""

UNANSWERED = ("zeros", "leave_out")


@dataclass(frozen=True)
class Choices:
    """How to join.

    Attributes:
        window: seconds before `until` in which sessions must begin; `None` for all.
        gap: seconds after which a session without a further row has ended.
        until: seconds since 1970; the last impression's or feedback's time if `None`.
        unanswered: `zeros` takes a missing response for no click; `leave_out` ends the
            session before it, as cut.
        reward: name of the function of responses; the endpoint's if `None`.
        format: of the log.
    """

    window: float | None = None
    gap: float = 1800.0
    until: float | None = None
    unanswered: str = "zeros"
    reward: str | None = None
    format: str = "json"


def join(
    source: Path, out: Path, choices: Choices, tick: Callable[[int], None] = lambda rows: None
) -> Report:
    """Write the log of a raw log, whole or not at all.

    Args:
        source: the raw log's folder, or the state folder of the endpoint.
        out: a new folder.
        choices: how to.
        tick: told how many rows are written, now and then.

    Raises:
        LogError: there is no raw log, nothing in it to write, the choices or the folder
            cannot be, or the disk is full.
    """
    raw = open_raw(source)
    header = _header(raw.header, choices)
    _check(raw, out, choices)
    impressions = read_impressions(raw.impressions)
    feedback = read_feedback(raw.feedback)
    if not len(impressions.columns["time"]):
        raise LogError(f"{raw.folder} holds no impression yet; let the endpoint answer first")
    until = choices.until
    if until is None:
        times = (impressions.columns["time"], feedback.columns["time"])
        until = float(max(column.max(initial=0) for column in times))
    report = Report(until, header.reward)
    planned, tokens = plan(impressions, feedback, header.widths["R"], choices, report)
    assembler = Assembler(
        header,
        Catalogues(raw.folder, header.spec.candidate_size),
        Fetch(raw.impressions, impressions.columns),
        Fetch(raw.feedback, feedback.columns),
    )
    with whole_folder(out) as folder:
        _write(assembler, planned, tokens, folder, header, choices, report, tick)
        for catalogue in raw.folder.glob("catalogue-*.jsonl"):
            write_whole(folder / catalogue.name, _content(catalogue))
        write_whole(folder / REPORT, (json.dumps(report.to_json(), indent=2) + "\n").encode())
    return report


def _header(raw: Header, choices: Choices) -> Header:
    header = replace(raw, reward=choices.reward or raw.reward)
    check_reward(header.reward, header.spec)
    return header


def _check(raw: RawLog, out: Path, choices: Choices) -> None:
    if choices.format not in FORMATS:
        raise LogError(f"--format is '{choices.format}'; allowed are: {', '.join(FORMATS)}")
    if choices.unanswered not in UNANSWERED:
        raise LogError(
            f"--unanswered is '{choices.unanswered}'; allowed are: {', '.join(UNANSWERED)}"
        )
    if choices.gap <= 0 or (choices.window is not None and choices.window <= 0):
        raise LogError("--window and --session-gap must be longer than nothing")
    refuse_existing(out)
    if out.resolve().is_relative_to(raw.folder.resolve()):
        raise LogError(f"{out} lies within the raw log {raw.folder}; choose another folder")


def plan(
    impressions: Lines, feedback: Lines, width: int, choices: Choices, report: Report
) -> tuple[Plan, Array]:
    """Which rows are written, in which order, with which responses; counts the others.

    Args:
        impressions: of the raw log.
        feedback: of the raw log.
        width: R.
        choices: how to.
        report: to count in; it knows the end.

    Returns:
        The plan, and the numbers of the rows whose requests brought responses.
    """
    columns, counts = impressions.columns, report.impressions
    counts.lines = len(columns["time"]) + len(impressions.faults)
    counts.faulty, counts.torn = len(impressions.faults), impressions.torn
    report.faults = [*impressions.faults, *feedback.faults]
    report.feedback_lines = len(feedback.columns["time"]) + len(feedback.faults)
    report.feedback_faulty, report.feedback_torn = len(feedback.faults), feedback.torn
    first = np.flatnonzero(originals(columns["identity"], columns["time"]))
    counts.repeated = len(columns["time"]) - len(first)
    tokens = first[columns["given"][first] >= 0]
    winners = _winners(columns, feedback.columns, first, tokens, width, report)
    rows = {name: columns[name][first] for name in ("session", "step", "time", "identity")}
    sessions = _sessions(rows, columns["previous"][first], choices, report)
    if choices.unanswered == "leave_out":
        answered = winners.number[first] != NONE
        sessions, left_out = _answered(sessions, answered)
        counts.left_out = left_out
    sessions = sessions._replace(order=first[sessions.order])
    report.sessions.split = int((sessions.part > 0).sum())
    return Plan(sessions, winners, columns["slots"], columns["length"]), tokens


def _winners(
    columns: dict[str, Array],
    feedback: dict[str, Array],
    first: Array,
    tokens: Array,
    width: int,
    report: Report,
) -> Winners:
    """The response to each row of all; to repetitions none."""
    found = choose(
        columns["identity"][first],
        columns["slots"][first].astype(np.int64) * width,
        Responses(columns["previous"][tokens], columns["time"][tokens], columns["given"][tokens]),
        Responses(feedback["identity"], feedback["time"], feedback["given"]),
        report.until,
    )
    report.tokens, report.feedbacks = found.tokens, found.feedbacks
    number = np.full(len(columns["time"]), NONE, np.int64)
    by_feedback = np.zeros(len(number), np.bool_)
    number[first], by_feedback[first] = found.number, found.feedback
    return found._replace(number=number, feedback=by_feedback)


def _sessions(
    rows: dict[str, Array], previous: Array, choices: Choices, report: Report
) -> Sessions:
    """Sessions of original rows, in the order in which they began; counts what is left out."""
    counts, time, until = report.impressions, rows["time"], report.until
    there = np.flatnonzero(time <= until)
    session, step, when, identity = (rows[name][there] for name in rows)
    parent = parents(session, step, identity, previous[there])
    kept = keep(session, step, when, parent)
    found = cut_sessions(session, step, when, kept, choices.gap, until)
    counts.outside = len(time) - len(there)
    counts.branched, counts.lost = int(kept.branched.sum()), int(kept.lost.sum())
    if choices.window is not None:
        begun = when[found.order[found.begins]]
        taken = chosen_sessions(found, begun > until - choices.window)
        counts.outside += len(found.order) - len(taken.order)
        found = taken
    found = by_time(found, when)
    return found._replace(order=there[found.order])


def _answered(sessions: Sessions, answered: Array) -> tuple[Sessions, int]:
    """Sessions up to their first row without a response, and how many rows that leaves out."""
    lengths = np.diff(sessions.begins, append=len(sessions.order))
    silent = (~answered[sessions.order]).astype(np.int64)
    so_far = np.cumsum(silent)
    kept = so_far == np.repeat(so_far[sessions.begins] - silent[sessions.begins], lengths)
    sizes = np.add.reduceat(kept.astype(np.int64), sessions.begins) if len(kept) else lengths
    left = sizes > 0
    begins = (np.cumsum(sizes) - sizes)[left]
    whole = sizes == lengths
    return Sessions(
        sessions.order[kept], begins, sessions.part[left], (sessions.terminated & whole)[left]
    ), int((~kept).sum())


def _write(
    assembler: Assembler,
    planned: Plan,
    tokens: Array,
    folder: Path,
    header: Header,
    choices: Choices,
    report: Report,
    tick: Callable[[int], None],
) -> None:
    counts, sessions = report.impressions, report.sessions
    with LogWriter(folder, header, format=choices.format) as writer:
        for part in assembler.parts(planned, tokens):
            counts.faulty += len(part.faults)
            counts.lost += part.lost
            report.faults += part.faults
            if part.rows is None:
                continue
            writer.write(part.rows)
            counts.unanswered += int((~part.answered).sum())
            sessions.terminated += int(part.rows["terminated"].sum())
            sessions.truncated += int(part.rows["truncated"].sum())
            tick(writer.rows)
    counts.written = writer.rows
    sessions.written = sessions.terminated + sessions.truncated
    if not counts.written:
        raise LogError(
            f"nothing is left to write: of {counts.lines} impressions {counts.outside} are outside "
            f"the window, {counts.left_out} left out without a response, and {counts.faulty} faulty"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LogError(f"cannot read {path}: {error.strerror or error}") from None
