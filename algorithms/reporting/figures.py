"""The tables of a report: what policies came to, what runs cost, how their configs differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.comparison.statistics import paired_difference
from algorithms.evaluation import Estimate
from algorithms.metrics import STEPS
from algorithms.reporting.group import Group
from algorithms.reporting.html import NOTHING, Cell, Html, table, tag
from algorithms.reporting.returns import better_off, pairs_of
from algorithms.reporting.source import Source
from algorithms.reporting.style import figure_of, interval, share, signed

_EMPTY = ({0.0}, {1.0})
_CPU = ("startup", "read", "train", "eval")


def outcome_table(group: Group) -> Html:
    """Every policy on the same users."""
    summaries = {player.label: player.result.summary() for player in group.players}
    every = dict.fromkeys(name for found in summaries.values() for name in found)
    # RecSim's `liked` is always 0, and bandits' clicks are certain: such columns tell nothing.
    names = [
        name
        for name in every
        if name == "return" or {found[name].mean for found in summaries.values()} not in _EMPTY
    ]
    rows: list[list[Cell]] = [
        [label, *(_estimate(found.get(name), name) for name in names)]
        for label, found in summaries.items()
    ]
    return table(
        f"{group.users:,} users, the same for every policy, with 95 % intervals",
        ["policy", *(name.replace("_", " ") for name in names)],
        rows,
    )


def _estimate(found: Estimate | None, name: str) -> Cell:
    if found is None or math.isnan(found.mean):
        return None
    small = tag("small", " ", interval(found.low, found.high))
    if name == "click_rate":
        return f"{found.mean:.1%}"
    mean = figure_of(found.mean)
    return tag("span", mean) if math.isnan(found.low) else tag("span", mean, small)


def difference_table(group: Group) -> Html:
    """Runs minus baselines, and later runs minus the first, pair by pair."""
    rows: list[list[Cell]] = []
    for run, other in pairs_of(group):
        first, second = run.result.returns, other.result.returns
        found = paired_difference(first[None], second[None])
        p_value = found.p_value
        shown = "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
        more, less = better_off(first, second)
        rows.append(
            [
                f"{run.label} minus {other.label}",
                signed(found.mean),
                interval(found.low, found.high) or None,
                None if math.isnan(p_value) else shown,
                f"{more:.1%}",
                f"{less:.1%}",
            ]
        )
    return table(
        "Difference of return, paired by user; one training run each, so the interval says "
        "nothing of another seed",
        ["pair", "difference", "95 % interval", "p", "users with more", "users with less"],
        rows,
    )


def findings(group: Group) -> list[str]:
    """A sentence a run: what it earns, and against the best baseline."""
    best, found = group.best_baseline, []
    for run in group.runs:
        mean = run.result.mean_return
        words = f"{run.label} earns {figure_of(mean.mean)} a session"
        if best is not None:
            against = paired_difference(run.result.returns[None], best.result.returns[None])
            more, less = better_off(run.result.returns, best.result.returns)
            what = f"{best.label}, the best baseline" if len(group.baselines) > 1 else best.label
            words += _verdict(against.mean, against.low, against.high, what)
            words += f"; {share(more)} of the users get more"
            words += f", {share(less)} less" if less else ""
        found.append(f"{words}.")
    return found


def _verdict(mean: float, low: float, high: float, label: str) -> str:
    ends = interval(low, high)
    if math.isnan(low) or low <= 0 <= high:
        return f", which cannot be told from {label} (difference {figure_of(mean)} {ends})"
    word = "more" if mean > 0 else "less"
    if mean < 0:
        ends = interval(-high, -low)
    return f", {figure_of(abs(mean))} {ends} {word} than {label}"


def cost_table(sources: Sequence[Source]) -> Html:
    """What each run took."""
    rows: list[list[Cell]] = []
    for source in sources:
        result = source.result or {}
        last = source.rows[-1] if source.rows else {}
        steps = result.get(STEPS, last.get(STEPS))
        rows.append(
            [
                source.label,
                source.algorithm,
                str(source.config.get("seed", NOTHING)),
                str(source.config.get("workers", NOTHING)),
                None if steps is None else f"{steps:,.0f}",
                *(_number(result.get(f"{name}_cpu_seconds")) for name in _CPU),
                _number(result.get("wall_seconds")),
                _number(result.get("peak_memory_mb")),
            ]
        )
    head = ["run", "algorithm", "seed", "workers", "steps"]
    head += [f"{name}, CPU-s" for name in _CPU] + ["wall, s", "memory, MB"]
    return table("What the runs took, all processes together", head, rows)


def _number(value: Any) -> Cell:
    known = isinstance(value, int | float) and math.isfinite(value)
    return figure_of(float(value)) if known else None


def version_table(sources: Sequence[Source]) -> Html:
    """What each run was made with."""
    names = list(dict.fromkeys(name for source in sources for name in source.versions))
    rows: list[list[Cell]] = [
        [source.label, *(source.versions.get(name) for name in names)] for source in sources
    ]
    return table("Versions that the runs were made with", ["run", *names], rows)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config with dots in its keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def config_differences(sources: Sequence[Source]) -> Html | None:
    """The keys in which configs differ; `None` where there is one run, or no difference."""
    configs = [flat(source.config) for source in sources]
    keys = dict.fromkeys(key for config in configs for key in config)
    missing = object()
    differing = [
        key
        for key in keys
        if any(config.get(key, missing) != configs[0].get(key, missing) for config in configs)
    ]
    if not differing:
        return None
    rows: list[list[Cell]] = [
        [key, *(str(config[key]) if key in config else None for config in configs)]
        for key in differing
    ]
    return table(
        "Keys in which the configs differ", ["key", *(source.label for source in sources)], rows
    )
