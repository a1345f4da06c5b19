"""Values that no row may hold, found in whole columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from offline.log.layout import empty_id
from offline.log.rows import Array, Rows
from offline.log.schema import COLUMNS, SOURCES

ROUNDING = 1e-3
"""By which a slate's log-propensity may differ from the sum over its slots."""

_ABOVE_ONE = 1e-5
"""Log-propensities up to this are 0, but for float32's rounding."""

Found = Iterator[tuple[Array, Callable[[int], str]]]
"""Flags of faulty rows, (rows,), and what to say of one of them by its number."""


def faults(rows: Rows) -> list[tuple[int, str]]:
    """Numbers of rows with impossible values, in order, and the first fault of each.

    Looks only at columns that are there.
    """
    found: dict[int, str] = {}
    for check in _CHECKS:
        for flags, describe in check(rows):
            for number in flags.nonzero()[0].tolist():
                if number not in found:
                    found[number] = describe(number)
    return sorted(found.items())


def _slates(rows: Rows) -> Found:
    if "slate" not in rows:
        return
    slate = rows["slate"]
    shown = slate >= 0
    if slate.shape[1] == 0:
        yield np.ones(len(rows), np.bool_), lambda i: "the slate is empty"
        return
    # A position below 0 in a slot that is no padding: padding comes last.
    holes = _any(~shown[:, :-1] & shown[:, 1:]) | ~shown[:, 0]
    yield holes, lambda i: f"the slate {slate[i].tolist()} holds a position below 0"
    yield _repeats(slate), lambda i: f"the slate {slate[i].tolist()} shows a candidate twice"
    if "mask" not in rows:
        return
    mask = rows["mask"]
    if mask.shape[1] == 0:
        yield np.ones(len(rows), np.bool_), lambda i: "there are no candidates"
        return
    yield (
        _ineligible(slate, mask),
        lambda i: f"the slate {slate[i].tolist()} shows what is not among the eligible candidates",
    )


def _repeats(positions: Array) -> Array:
    """Rows, (rows,), where a position (rows, K) stands twice; those below 0 don't count."""
    apart = np.where(positions >= 0, positions, -1 - np.arange(positions.shape[1]))
    ordered = np.sort(apart, axis=1)
    return _any(ordered[:, 1:] == ordered[:, :-1])


def _ineligible(positions: Array, mask: Array) -> Array:
    """Rows, (rows,), with a position (rows, K) that is not eligible by the mask (rows, N)."""
    last = mask.shape[1] - 1
    eligible = np.take_along_axis(mask, np.clip(positions, 0, last), axis=1)
    return _any((positions > last) | ~eligible & (positions >= 0))


def _greedy(rows: Rows) -> Found:
    if "greedy" not in rows or "slate" not in rows:
        return
    greedy = rows["greedy"]
    given, shown = _any(greedy >= 0), rows["slate"] >= 0
    partly = given & _any(shown & (greedy < 0))
    yield partly, lambda i: f"'greedy' is {greedy[i].tolist()}: a position below 0"
    yield _repeats(greedy), lambda i: f"'greedy' is {greedy[i].tolist()}: a candidate twice"
    if "mask" in rows and rows["mask"].shape[1]:
        yield (
            _ineligible(greedy, rows["mask"]),
            lambda i: f"'greedy' is {greedy[i].tolist()}: not among the eligible candidates",
        )


def _distribution(rows: Rows) -> Found:
    names = [name for name in ("log_weights", "epsilon", "temperature") if name in rows]
    if not names:
        return
    null = np.stack([_any(np.isnan(rows[n].reshape(len(rows), -1)[:, :1])) for n in names], axis=1)

    def describe(i: int) -> str:
        missing = names[int(null[i].argmax())]
        given = names[int((~null[i]).argmax())]
        return f"'{missing}' is null, but '{given}' is not; give the whole distribution or nothing"

    yield _any(null) & ~null.all(axis=1), describe


def _names(rows: Rows) -> Found:
    if "candidate_ids" not in rows:
        return
    empty = rows["candidate_ids"] == ""
    among = _any(empty[:, :-1] & ~empty[:, 1:])
    if "mask" in rows:  # padding is not eligible
        among |= _any(empty & rows["mask"])
    yield among, lambda i: empty_id("candidate_ids")


def _ids(rows: Rows) -> Found:
    if "slate_ids" not in rows or "candidate_ids" not in rows or "slate" not in rows:
        return
    ids, slate, names = rows["candidate_ids"], rows["slate"], rows["slate_ids"]
    if ids.shape[1] == 0 or slate.shape[1] == 0:
        return
    expected = np.take_along_axis(ids, np.clip(slate, 0, ids.shape[1] - 1), axis=1)
    differs = _any((expected != names) & (slate >= 0))
    yield (
        differs,
        lambda i: (
            f"the slate's ids {names[i].tolist()} are not those of the candidates at its "
            f"positions, {expected[i].tolist()}"
        ),
    )


def _pins(rows: Rows) -> Found:
    if "pinned" not in rows or "slate" not in rows:
        return
    pinned, slate = rows["pinned"], rows["slate"]
    elsewhere = _any((pinned >= 0) & (pinned != slate))
    yield (
        elsewhere,
        lambda i: f"slots are pinned to {pinned[i].tolist()}, but {slate[i].tolist()} is shown",
    )


def _sources(rows: Rows) -> Found:
    if "propensity_source" not in rows:
        return
    source = rows["propensity_source"]
    unknown = np.ones(len(rows), np.bool_)
    for allowed in SOURCES:
        unknown &= source != allowed
    allowed_words = ", ".join(SOURCES)
    yield (
        unknown,
        lambda i: f"'propensity_source' is '{source[i]}'; allowed are: {allowed_words}",
    )


def _propensities(rows: Rows) -> Found:
    for name in ("log_propensity", "slot_log_propensities"):
        if name in rows:
            yield from _impossible(name, rows)
    if "log_propensity" in rows and "slot_log_propensities" in rows:
        slate, total = rows["log_propensity"], rows["slot_log_propensities"].sum(axis=1)
        with np.errstate(invalid="ignore"):  # of infinite ones enough is said
            differ = np.abs(slate - total) > ROUNDING * np.maximum(1.0, np.abs(total))
        yield (
            differ,
            lambda i: f"'log_propensity' is {slate[i]:.6g}, but its slots add up to {total[i]:.6g}",
        )


def _impossible(name: str, rows: Rows) -> Found:
    values = rows[name].reshape(len(rows), -1)
    if "propensity_source" in rows:
        missing = (rows["propensity_source"] != "none") & _any(np.isnan(values))
        yield missing, lambda i: f"'{name}' is missing, but the source is not 'none'"
    zero = _any(values == -np.inf)
    yield zero, lambda i: f"'{name}' is -inf: a propensity of 0 for what was shown"
    above = _any(values > _ABOVE_ONE)
    yield above, lambda i: f"'{name}' is {values[i].max():.6g}: a propensity above 1"


def _finite(rows: Rows) -> Found:
    for name, column in COLUMNS.items():
        if name not in rows or not column.is_fraction:
            continue
        values = rows[name].reshape(len(rows), -1)
        bad = ~np.isfinite(values)
        if not bad.any():
            continue
        null = np.isnan(values[:, :1]) & _may_be_null(name, rows)[:, None]
        bad = np.where(null, ~np.isnan(values) & (values != column.padding), bad)
        where = bad.argmax(axis=1)

        def describe(i: int, n: str = name, v: Array = values, w: Array = where) -> str:
            return f"'{n}' holds {v[i, w[i]]}; numbers must be finite, or all be missing"

        yield _any(bad), describe


def _any(flags: Array) -> Array:
    """Of rows, (rows, entries), those with any."""
    found: Array = np.any(flags, axis=1)
    return found


def _may_be_null(name: str, rows: Rows) -> Array:
    """Rows, (rows,), where a column may be missing altogether."""
    if name == "candidates":  # until they are looked up in a catalogue
        named = rows["catalogue"] != "" if "catalogue" in rows else np.zeros(len(rows), np.bool_)
        return np.asarray(named)
    return np.full(len(rows), COLUMNS[name].fill is not None)


def _exploration(rows: Rows) -> Found:
    if "epsilon" in rows:
        epsilon = rows["epsilon"]
        yield (epsilon < 0) | (epsilon > 1), lambda i: f"'epsilon' is {epsilon[i]}; from 0 to 1"
    if "temperature" in rows:
        heat = rows["temperature"]
        yield heat < 0, lambda i: f"'temperature' is {heat[i]}; it must not be negative"


def _ends(rows: Rows) -> Found:
    if "step" in rows:
        step = rows["step"]
        yield step < 0, lambda i: f"'step' is {step[i]}; steps count from 0"
    if "session_id" in rows:
        yield rows["session_id"] == "", lambda i: "'session_id' is empty"
    if "terminated" in rows and "truncated" in rows:
        both = rows["terminated"] & rows["truncated"]
        yield both, lambda i: "the session is both terminated and truncated; only one can be"


_CHECKS = (
    _slates,
    _names,
    _ids,
    _pins,
    _sources,
    _propensities,
    _finite,
    _exploration,
    _distribution,
    _greedy,
    _ends,
)
