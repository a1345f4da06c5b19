"""What joining counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from offline.joining.winners import Counts
from offline.log.read import Fault

SHOWN = 20
"""Faults that a report names."""


@dataclass
class Impressions:
    """What became of the impressions' lines; all but the last two add up to `lines`.

    Attributes:
        lines: that are whole.
        faulty: of no use, or a row that cannot be.
        repeated: the same answer, given again.
        outside: of sessions that did not begin in the window, or after its end.
        branched: of branches that were given up.
        lost: after a row that is not there, or that is faulty.
        left_out: without a response, and what follows, where asked for.
        written: rows of the log.
        torn: last lines that are not finished; not among `lines`.
        unanswered: of those written, rows without a response, taken for no click.
    """

    lines: int = 0
    faulty: int = 0
    repeated: int = 0
    outside: int = 0
    branched: int = 0
    lost: int = 0
    left_out: int = 0
    written: int = 0
    torn: int = 0
    unanswered: int = 0


@dataclass
class SessionCounts:
    """Sessions of the log.

    Attributes:
        written: all.
        terminated: that ended.
        truncated: that were open when the time was up, or that miss a row.
        split: more sessions than the endpoint counted, after pauses longer than the gap.
    """

    written: int = 0
    terminated: int = 0
    truncated: int = 0
    split: int = 0


@dataclass
class Report:
    """What came of a raw log.

    Attributes:
        until: seconds since 1970, up to which it was joined.
        reward: name of the function of responses.
        impressions: what became of them.
        sessions: those written.
        feedback_lines: whole lines of feedback.
        feedback_faulty: of no use.
        feedback_torn: last lines that are not finished.
        tokens: what became of responses that came with the next request.
        feedbacks: what became of responses that came as feedback.
        faults: of lines and rows.
    """

    until: float
    reward: str
    impressions: Impressions = field(default_factory=Impressions)
    sessions: SessionCounts = field(default_factory=SessionCounts)
    feedback_lines: int = 0
    feedback_faulty: int = 0
    feedback_torn: int = 0
    tokens: Counts = field(default_factory=Counts)
    feedbacks: Counts = field(default_factory=Counts)
    faults: list[Fault] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "until": self.until,
            "reward": self.reward,
            "impressions": asdict(self.impressions),
            "sessions": asdict(self.sessions),
            "feedback": {
                "lines": self.feedback_lines,
                "faulty": self.feedback_faulty,
                "torn": self.feedback_torn,
                **self.feedbacks._asdict(),
            },
            "with_token": self.tokens._asdict(),
            "faults": [str(fault) for fault in self.faults[:SHOWN]],
        }


def as_text(found: dict[str, Any]) -> str:
    """A line a group of counts, without those that are 0; then faults."""
    rows, sessions = found["impressions"], found["sessions"]
    lines = [
        f"{rows['lines']:,} impressions: {rows['written']:,} rows written{_rest(rows, _ROWS)}",
        f"  {sessions['written']:,} sessions: {sessions['terminated']:,} ended, "
        f"{sessions['truncated']:,} cut{_rest(sessions, _SESSIONS)}",
        f"  responses with the token: {found['with_token']['used']:,} used"
        f"{_rest(found['with_token'], _RESPONSES)}",
        f"  feedback: {found['feedback']['lines']:,} lines, {found['feedback']['used']:,} used"
        f"{_rest(found['feedback'], _RESPONSES)}",
    ]
    return "\n".join([*lines, *(f"  {fault}" for fault in found["faults"])])


_ROWS = {
    "unanswered": "of them without a response, taken for no click",
    "left_out": "left out without a response",
    "repeated": "repeated answers",
    "branched": "of branches given up",
    "lost": "after a missing row",
    "outside": "outside the window",
    "faulty": "faulty",
    "torn": "torn last lines",
}
_SESSIONS = {"split": "begun after a pause"}
_RESPONSES = {
    "superseded": "superseded",
    "orphans": "orphans",
    "misfits": "of another size than the slate",
    "late": "after the end",
    "faulty": "faulty",
    "torn": "torn last lines",
}


def _rest(counts: dict[str, int], words: dict[str, str]) -> str:
    return "".join(f", {counts[k]:,} {word}" for k, word in words.items() if counts.get(k))
