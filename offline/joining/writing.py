"""Turns chosen lines and the responses to them into rows of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import simdjson

from offline.joining.chains import NONE, Sessions
from offline.joining.reading import Fetch
from offline.joining.winners import Winners
from offline.log.catalogue import Catalogues
from offline.log.json_decode import decode
from offline.log.json_faults import fault_of
from offline.log.layout import arrange
from offline.log.read import Fault
from offline.log.rewards import rewards
from offline.log.rows import Array, Rows
from offline.log.schema import COLUMNS, Header
from offline.log.validate import faults

JOINED = ("response", "reward", "terminated", "truncated")
_LOGGED = tuple(name for name in COLUMNS if name not in JOINED)
_BATCH_ROWS, _BATCH_BYTES = 2048, 2**24
_DOUBLE = 8


class Plan(NamedTuple):
    """What is to be written.

    Attributes:
        sessions: of the rows.
        winners: the response to each row, by its number.
        slots: K of each row.
        lengths: bytes of each row's line.
    """

    sessions: Sessions
    winners: Winners
    slots: Array
    lengths: Array


class Part(NamedTuple):
    """Whole sessions.

    Attributes:
        rows: of the log; `None` where none is left.
        answered: which have a response, (rows,) bool.
        faults: of rows that could not be used; their sessions end before them.
        lost: rows after those.
    """

    rows: Rows | None
    answered: Array
    faults: list[Fault]
    lost: int


class Draft(NamedTuple):
    """Rows to be, of whole sessions, (rows,) each.

    Attributes:
        numbers: of their impressions.
        owner: number of the session, ascending.
        part: as in `chains.Sessions`.
        terminated: as in the log.
        truncated: as in the log.
    """

    numbers: Array
    owner: Array
    part: Array
    terminated: Array
    truncated: Array

    @property
    def step(self) -> Array:
        """Of each row in its session."""
        begins = np.append(True, np.diff(self.owner) != 0)
        number = np.arange(len(begins))
        found: Array = number - np.maximum.accumulate(np.where(begins, number, 0))
        return found

    def take(self, kept: Array) -> Draft:
        """Some of the rows, (rows,) bool."""
        return Draft(*(column[kept] for column in self))


class Assembler:
    """Makes rows of a plan, part by part."""

    def __init__(
        self,
        header: Header,
        catalogues: Catalogues,
        impressions: Fetch,
        feedback: Fetch,
    ) -> None:
        """With what is needed to read lines again; the header is the new log's."""
        self._header, self._catalogues = header, catalogues
        self._impressions, self._feedback = impressions, feedback
        self._parser = simdjson.Parser()

    def parts(self, plan: Plan, tokens: Array) -> Iterator[Part]:
        """Rows of whole sessions, some thousands at a time.

        Args:
            plan: what to write.
            tokens: numbers of the rows whose requests brought responses.

        Raises:
            LogError: a shard has become shorter meanwhile.
        """
        order, begins = plan.sessions.order, plan.sessions.begins
        lengths = np.diff(begins, append=len(order))
        size = np.append(0, np.cumsum(plan.lengths[order]))
        first = 0
        while first < len(begins):
            start = begins[first]
            most = min(start + _BATCH_ROWS, np.searchsorted(size, size[start] + _BATCH_BYTES))
            last = max(first + 1, int(np.searchsorted(begins + lengths, most, side="right")))
            yield self._part(plan, tokens, slice(first, last))
            first = last

    def _part(self, plan: Plan, tokens: Array, which: slice) -> Part:
        draft = _draft(plan.sessions, which)
        found: list[Fault] = []
        lost = 0
        while len(draft.numbers):
            rows, bad = self._complete(plan, tokens, draft)
            if rows is not None:
                return Part(rows, plan.winners.number[draft.numbers] != NONE, found, lost)
            place = self._impressions.place
            found += [Fault(*place(int(draft.numbers[n])), bad[n]) for n in sorted(bad)]
            shorter = _before(draft, np.array(sorted(bad)))
            lost += len(draft.numbers) - len(shorter.numbers) - len(bad)
            draft = shorter
        return Part(None, np.zeros(0, np.bool_), found, lost)

    def _complete(
        self, plan: Plan, tokens: Array, draft: Draft
    ) -> tuple[Rows | None, dict[int, str]]:
        """Rows, or what is wrong with some of them, by their number in the draft."""
        lines = self._impressions(draft.numbers)
        logged = decode_logged(lines, self._header, self._catalogues)
        if logged is None:
            alone = (decode_logged([line], self._header, self._catalogues) for line in lines)
            bad = [number for number, row in enumerate(alone) if row is None]
            return None, {number: self._reason(lines[number]) for number in bad}
        response = self._responses(plan, tokens, draft.numbers)
        joined = {
            "response": response,
            "reward": rewards(self._header.reward, self._header.spec, response),
            "session_id": _named(logged["session_id"], draft.part),
            "step": draft.step,
            "terminated": draft.terminated,
            "truncated": draft.truncated,
        }
        rows = logged.replace(**joined)
        bad_values = dict(faults(rows))
        return (None, bad_values) if bad_values else (rows, {})

    def _reason(self, line: bytes) -> str:
        row = json.loads(line)
        shown = row.get("slate")
        slots = len(shown) if isinstance(shown, list) else 0
        row |= {
            "response": [0.0] * slots * self._header.widths["R"],
            "reward": 0.0,
            "terminated": False,
            "truncated": False,
        }
        found = fault_of(json.dumps(row).encode(), self._header, self._catalogues)
        return found or "cannot be read"

    def _responses(self, plan: Plan, tokens: Array, numbers: Array) -> Array:
        """Responses to rows, (rows, K, R); zeros where none came."""
        width = self._header.widths["R"]
        slots = plan.slots[numbers].astype(np.int64)
        winner, by_feedback = plan.winners.number[numbers], plan.winners.feedback[numbers]
        buffers: list[Any] = [bytes(_DOUBLE * width * size) for size in slots.tolist()]
        there = winner != NONE
        for wanted, read, key in (
            (there & by_feedback, self._feedback, "response"),
            (there & ~by_feedback, self._impressions, "previous_response"),
        ):
            places = np.flatnonzero(wanted)
            source = winner[places]
            lines = read(source if key == "response" else tokens[source])
            for place, line in zip(places.tolist(), lines, strict=True):
                buffers[place] = self._numbers(line, key)
        flat = np.frombuffer(b"".join(buffers), np.float64)
        with np.errstate(over="ignore"):  # what is infinite then is found by the checks
            values = flat.astype(np.float32)
        present = np.ones(len(numbers), np.bool_)
        return arrange(
            COLUMNS["response"], values, present, slots * width, {"K": slots}, self._header.widths
        )

    def _numbers(self, line: bytes, key: str) -> Any:
        # The parser goes on only when nothing that it gave lives any more.
        row: Any = self._parser.parse(line)
        return row[key].as_buffer(of_type="d")


def decode_logged(lines: list[bytes], header: Header, catalogues: Catalogues) -> Rows | None:
    """Rows of impressions without what is joined to them; `None` where one is at fault."""
    found = decode(lines, header, _LOGGED, catalogues)
    if found.faults:
        return None
    rows = found.rows
    named = rows["catalogue"] != ""
    if named.any():  # written as they were, by id alone
        rows = rows.replace(
            candidates=np.where(named[:, None, None], np.float32(np.nan), rows["candidates"])
        )
    return rows


def _named(ids: Array, part: Array) -> Array:
    """Names of sessions; of several with one id the later ones get a number."""
    if not part.any():
        return ids
    both = zip(ids.tolist(), part.tolist(), strict=True)
    return np.array([f"{name}.{number}" if number else name for name, number in both], object)


def _draft(sessions: Sessions, which: slice) -> Draft:
    lengths = np.diff(sessions.begins, append=len(sessions.order))[which]
    start = sessions.begins[which.start]
    count = int(lengths.sum())
    last = np.cumsum(lengths) - 1
    ended, cut = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    ended[last] = sessions.terminated[which]
    cut[last] = ~sessions.terminated[which]
    return Draft(
        sessions.order[start : start + count],
        np.repeat(np.arange(len(lengths)), lengths),
        np.repeat(sessions.part[which], lengths),
        ended,
        cut,
    )


def _before(draft: Draft, bad: Array) -> Draft:
    """The rows before the first bad one of each session, which is cut there."""
    number = np.arange(len(draft.numbers))
    nowhere = len(number) + 1
    first = np.full(int(draft.owner[-1]) + 1, nowhere)
    np.minimum.at(first, draft.owner[bad], bad)
    limit = first[draft.owner]
    return Draft(
        draft.numbers,
        draft.owner,
        draft.part,
        draft.terminated,
        draft.truncated | (number == limit - 1),
    ).take(number < limit)
