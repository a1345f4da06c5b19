"""Results of `offline.evaluate`: read from files, or judged from the demo's own log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.demonstrating.labels import Rows

PICTURES = (".png",)
LARGEST_BYTES = 100 * 2**20
"""Of the demo's own log, up to which a page judges by it: some seconds."""


@dataclass(frozen=True)
class Result:
    """One judgement.

    Attributes:
        title: whom it judges, and by what.
        facts: names and values, in words.
        rows: one an estimator: `estimator`, `value`, `low`, `high`, `difference`,
            `difference_low`, `difference_high`, `believed`, `note`, `refusal`; `None`
            where there is none.
        logged: what the policies that logged earned a session; `None` if unknown.
        compared: whether it has differences.
        conclusion: the last word.
        warnings: plain sentences.
    """

    title: str
    facts: list[tuple[str, str]]
    rows: Rows
    logged: float | None
    compared: bool
    conclusion: str
    warnings: list[str]


def check_files(files: list[str]) -> None:
    """Refuse files that no page could show.

    Raises:
        ValueError: one is neither a result nor a picture, or cannot be read.
    """
    for file in files:
        path = Path(file)
        if path.suffix.lower() not in PICTURES:
            read(path)
        elif not path.is_file():
            raise ValueError(f"there is no picture {file}; name one of `offline.evaluate --plot`")


def read(path: Path) -> Result:
    """A file of `offline.evaluate --json`.

    Raises:
        ValueError: it is none, or cannot be read.
    """
    hint = "name a file that `python -m offline.evaluate ... --json` has written"
    try:
        return result(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); {hint}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} holds no result of an evaluation from logs; {hint}") from None


def result(found: Mapping[str, Any]) -> Result:
    """What `offline.evaluate --json` printed, for a page."""
    recommended = found["recommended"]
    rows = [_row(name, each, recommended) for name, each in found["estimates"].items()]
    effective = found["diagnostics"]["effective_sample_size"]
    facts = [
        ("log", str(found["data"])),
        ("sessions", f"{found['sessions']:,}"),
        ("slates", f"{found['rows']:,}"),
        ("effective sample size", "unknown" if effective is None else f"{effective:,.1f}"),
        ("policy acts", str(found["acting"])),
        ("interval", f"{found['interval']}, {100 * found['confidence']:.4g} %"),
    ]
    against = found["against"]
    conclusion = found["verdict"] or _believed(recommended, found)
    return Result(
        f"{found['policy']}{f' against {against}' if against else ''}",
        facts,
        rows,
        found["logged"]["value"],
        against is not None,
        conclusion,
        list(found["warnings"]),
    )


def _row(name: str, each: Mapping[str, Any], recommended: str | None) -> dict[str, Any]:
    low, high = each["interval"] or (None, None)
    difference = each.get("difference") or {"value": None, "interval": None}
    less, more = difference["interval"] or (None, None)
    return {
        "estimator": name,
        "value": each["value"],
        "low": low,
        "high": high,
        "difference": difference["value"],
        "difference_low": less,
        "difference_high": more,
        "believed": "recommended" if name == recommended else "other",
        "note": each["note"],
        "refusal": each["refusal"],
    }


def refusals(rows: Rows) -> list[tuple[str, str]]:
    """Estimators without a value and why, once for those that say the same."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["value"] is None:
            reasons.setdefault(row["refusal"], []).append(row["estimator"])
    return [(", ".join(names), reason) for reason, names in reasons.items()]


def _believed(name: str | None, found: Mapping[str, Any]) -> str:
    if name is None:
        return f"no estimate is recommended: {found['reason']}"
    return f"recommended: {name}, {found['estimates'][name]['value']:.4g}, {found['reason']}"


def judge_own(state: Path, policy: str, epsilon: float | None) -> Result:
    """Judge a policy against those that logged, by the log of an endpoint that is running.

    Args:
        state: folder of the endpoint.
        policy: run folder, policy folder or baseline.
        epsilon: of the policy that is judged; as trained for `None`.

    Raises:
        ValueError: nothing was logged yet, the log is too large for a page, or says nothing.
    """
    size = sum(shard.stat().st_size for shard in (state / "log").glob("impressions-*"))
    if size > LARGEST_BYTES:
        raise ValueError(
            f"the log of {state} has {size / 2**20:,.0f} MiB, too much for a page; use "
            "`python -m offline.join` and `python -m offline.evaluate`"
        )
    from offline.evaluate import prepare
    from offline.joining.joining import Choices, join
    from offline.judge.judging import Request, judge
    from offline.judge.report import as_json
    from offline.log import open_log

    with tempfile.TemporaryDirectory(prefix="recsim-demo-") as folder:
        out = Path(folder) / "log"
        # A slate that nobody has reacted to yet is no answer of "no click".
        join(state, out, Choices(unanswered="leave_out"))
        log = open_log(str(out))
        target, other = prepare(log, policy, "logged", (epsilon, None))
        request = Request(target, other)
        return result(as_json(request, "this demo's log", judge(log, request, None)))
