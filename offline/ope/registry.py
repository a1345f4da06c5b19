"""The estimators by name, and all of them on one log."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from offline.ope.columns import Logged, Refusal
from offline.ope.contributions import Contributions
from offline.ope.estimator import Estimator, Options
from offline.ope.table import TABLE

ESTIMATORS: dict[str, Estimator] = {each.name: each for each in TABLE}


def estimator(name: str) -> Estimator:
    """The estimator called `name`.

    Raises:
        ValueError: there is none; names the nearest.
    """
    if name not in ESTIMATORS:
        near = difflib.get_close_matches(name, ESTIMATORS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(ESTIMATORS)}"
        raise ValueError(f"unknown estimator '{name}'; {hint}")
    return ESTIMATORS[name]


def contributions_of(
    log: Logged, names: Iterable[str] | None = None, options: Options | None = None
) -> dict[str, Contributions | Refusal]:
    """Every named estimator on one log; all whose columns are there if none is named.

    Those that refuse give their refusal in place of numbers.

    Raises:
        ValueError: a name that is no estimator.
    """
    chosen = fitting(log) if names is None else [estimator(name) for name in names]
    found: dict[str, Contributions | Refusal] = {}
    for each in chosen:
        try:
            found[each.name] = each(log, options)
        except Refusal as refusal:
            found[each.name] = refusal
    return found


def fitting(log: Logged) -> list[Estimator]:
    """Estimators made for sessions like these whose columns are all there."""
    return [
        each
        for each in ESTIMATORS.values()
        if (log.is_one_step or each.scope == "sessions")
        and all(getattr(log, name) is not None for name in each.needs)
    ]
