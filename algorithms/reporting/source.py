"""What a run folder holds, read for a report: whatever kind of run, finished or not."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms import strict_yaml
from algorithms.checkpoints import damage
from algorithms.environment import World
from algorithms.metrics import STEPS, read_rows
from algorithms.policy import Policy
from algorithms.run import RunError, about

Rows = list[dict[str, float]]

DEFAULT_EVALUATION_SEED = 1_000_003
_RESULT = ("return_mean", "return_ci95")


@dataclass(frozen=True)
class Source:
    """A run to report.

    Attributes:
        path: its folder.
        label: what it is called on the page; no two alike.
        kind: of run, `online` or `offline`.
        algorithm: that was trained.
        config: resolved, as plain data.
        rows: of `metrics.csv`.
        result: of `result.json`; `None` before the run has ended.
        versions: of what it was run with.
        policy: its own, or its last checkpoint's; `None` before there is one.
        notes: what a reader has to know of it, in sentences.
    """

    path: Path
    label: str
    kind: str
    algorithm: str
    config: dict[str, Any]
    rows: Rows
    result: dict[str, Any] | None
    versions: dict[str, str]
    policy: Policy | None
    notes: tuple[str, ...]

    @property
    def world(self) -> World | None:
        """The world of its training without the history; `None` where it has none."""
        found = self.config.get("env") if self.policy is None else self.policy.info.get("world")
        world = found if isinstance(found, dict) else None
        return None if world is None else {k: v for k, v in world.items() if k != "history"}

    @property
    def evaluation_seed(self) -> int:
        """Of the users that the run itself was evaluated with."""
        found = (self.config.get("evaluate") or {}).get("seed", DEFAULT_EVALUATION_SEED)
        return int(found)


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Runs in the given order.

    Raises:
        ValueError: one is no run folder, is damaged, or is given twice.
    """
    places = [path.resolve() for path in paths]
    for path, count in Counter(places).items():
        if count > 1:
            raise ValueError(f"{path} is given {count} times; name each run once")
    return [read_source(path, label) for path, label in zip(paths, _labels(places), strict=True)]


def _labels(places: Sequence[Path]) -> list[str]:
    """As much of the end of each path as tells them apart."""
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        labels = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(labels)) == len(labels):
            break
    return labels


def read_source(path: Path, label: str) -> Source:
    """One run.

    Raises:
        ValueError: it is none, or a file of it is damaged.
    """
    found = about(path)
    rows, dropped = _metrics(path / "metrics.csv")
    result = _result(path / "result.json")
    policy, notes = _policy(path, ended=result is not None)
    if dropped:
        notes.append(f"{dropped} unreadable row{'s' * (dropped > 1)} of metrics.csv left out.")
    if not rows:
        notes.append("It has no metrics yet, so there are no learning curves.")
    notes += _of_log(result or {})
    versions = found.get("versions")
    return Source(
        path,
        label,
        str(found["kind"]),
        str(found.get("algorithm", "unknown")),
        _config(path / "config.yaml"),
        rows,
        result,
        {str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
        policy,
        tuple(notes),
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        found = strict_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; use a whole copy") from None
    except (UnicodeDecodeError, strict_yaml.YamlError):
        found = None
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged: it holds no keys and values; use another copy")
    return found


def _metrics(path: Path) -> tuple[Rows, int]:
    """Rows, and how many are unreadable.

    Raises:
        RunError: nothing in the file can be read.
    """
    if not path.exists():
        return [], 0
    try:
        rows = read_rows(path)
        lines = len(path.read_text(encoding="utf-8").splitlines()) - 1
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        rows, lines = [], 1
    if lines > 0 and not (rows and STEPS in rows[0]):
        raise RunError(
            f"{path} is damaged: no row of it is whole; use another copy, or remove it for a "
            "report without learning curves"
        )
    return rows, max(0, lines - len(rows))


def _result(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(key in found for key in _RESULT):
        raise RunError(f"{path} is damaged: it is no result of a run; use another copy")
    return found


def _of_log(result: dict[str, Any]) -> list[str]:
    """What an offline run's result says of its log."""
    found = []
    logged = (result.get("references") or {}).get("logged")
    if isinstance(logged, int | float):
        found.append(f"The sessions of its log earned {logged:,.4g} each.")
    warning = (result.get("coverage") or {}).get("warning")
    if isinstance(warning, str):
        found.append(f"{warning[0].upper()}{warning[1:]}.")
    return found


def _policy(path: Path, ended: bool) -> tuple[Policy | None, list[str]]:
    """The run's policy or that of its last whole checkpoint, and what to say of it."""
    if (path / "policy").exists():
        note = "Its policy is there, but its final evaluation is not."
        return Policy.load(path / "policy"), [] if ended else [note]
    for checkpoint in sorted((path / "checkpoints").glob("step-*"), reverse=True):
        if damage(checkpoint) is None and (checkpoint / "policy").exists():
            steps = int(checkpoint.name.removeprefix("step-"))
            return Policy.load(checkpoint / "policy"), [
                f"The run has not ended: what it shows is its checkpoint of step {steps:,}."
            ]
    return None, ["The run has not ended and has no checkpoint, so it cannot be played yet."]
