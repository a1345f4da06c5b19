"""The table of a comparison, from its objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from algorithms.comparison.plan import Comparison


def as_text(comparison: Comparison, objects: list[dict[str, Any]]) -> str:
    """The table, and how to read it."""
    parts: list[str] = []
    for environment in comparison.environments:
        chosen = [each for each in objects if each["environment_label"] == environment]
        if chosen:
            users, backend = chosen[0]["eval_users"], chosen[0]["backend"]
            parts.append(f"{environment}: {users:,} users of the {backend} backend")
            parts += _aligned([_head(comparison, chosen), *(_cells(each) for each in chosen)])
            parts.append("")
    return "\n".join([*parts, EXPLANATION, _DIFFERENCES[comparison.file.measure]])


EXPLANATION = """\
return: of a session, undiscounted, with the 95 % interval of Student's t over seeds, or of the
  normal approximation over users (*) where there is one run. Every policy met the same users and
  luck.
while learning: reward of a user-step, mean over the whole training, exploration included."""

_DIFFERENCES = {
    "return": """\
difference: paired by user, with the 95 % interval and p of a t-test in which both seeds and users
  are draws from many; over users alone where there is one run. Not corrected for several lines.""",
    "learning": """\
difference: of the rewards while learning, paired by seed, with the 95 % interval and p of
  Student's t. Not corrected for several lines.""",
}


def _head(comparison: Comparison, objects: list[dict[str, Any]]) -> list[str]:
    head = ["algorithm", "return", "", "seeds", "user-steps", "CPU-seconds", "while learning", ""]
    head += [f"difference to {comparison.against}", "", "p"]
    if any("published" in each for each in objects):
        head.append(comparison.file.published_by or "published")
    return head


def _cells(found: dict[str, Any]) -> list[str]:
    star = "*" if found["ci95_over"] == "users" else ""
    difference = found.get("difference", {"mean": None, "ci95": None, "p_value": None})
    p_value = difference["p_value"]
    shown = "" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
    trained = bool(found["seeds"])
    earned = found.get("learning_reward", {"per_step": None, "ci95": None})
    return [
        found["label"],
        number(found["return_mean"]),
        interval(found["return_ci95"]) + star,
        str(len(found["seeds"])) if trained else "-",
        f"{found['env_steps']:,}" if trained else "-",
        f"{found['train_cpu_seconds']:.1f}" if trained else "-",
        number(earned["per_step"]),
        interval(earned["ci95"]),
        number(difference["mean"], sign="+"),
        interval(difference["ci95"], sign="+"),
        shown,
        *([number(found["published"]["return_mean"])] if "published" in found else []),
    ]


def number(value: float | None, sign: str = "") -> str:
    """With as many decimals as its size is worth; empty for none."""
    if value is None:
        return ""
    decimals = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
    return f"{value:{sign}.{decimals}f}"


def interval(ends: list[float] | None, sign: str = "") -> str:
    """Both ends in brackets; empty for none."""
    return "" if ends is None else f"[{number(ends[0], sign)}, {number(ends[1], sign)}]"


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Columns side by side, words to the left and numbers to the right."""
    width = max(map(len, rows))
    rows = [row + [""] * (width - len(row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(width)]
    for row in rows:
        cells = [
            cell.ljust(widths[0]) if column == 0 else cell.rjust(widths[column])
            for column, cell in enumerate(row)
        ]
        yield "  " + "  ".join(cells).rstrip()
