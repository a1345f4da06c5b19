"""The folder of a search: its plan, its trials, and a lock."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from algorithms import strict_yaml
from algorithms.command import sentence
from algorithms.layers import ConfigError
from algorithms.run import RunError, versions, write_whole
from algorithms.tuning.plan import Plan, as_plain, make_plan
from algorithms.tuning.trials import TRIALS

_ABOUT, _PLAN, _FORMAT = "search.json", "tune.yaml", 1


def create_search(plan: Plan, trials: int, out: Path | None) -> Path:
    """A new folder.

    Args:
        plan: of the search.
        trials: how many there shall be.
        out: the folder; `runs/tune/<algorithm>-<environment>-<time>` if not given.

    Raises:
        RunError: it is there already, or cannot be written.
    """
    config = plan.config
    world = config.env.name.replace(":", ".").rpartition("/")[2]
    name = f"{config.algorithm}-{world}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = out or Path("runs") / "tune" / name
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(
                f"{folder} is there already; choose another --out, or continue with --resume"
            )
        (folder / TRIALS).mkdir(parents=True)
        write_whole(folder / _PLAN, strict_yaml.dump(as_plain(plan)))
        set_trials(folder, config.algorithm, trials)
    except OSError as error:
        raise RunError(
            f"cannot write the folder {folder}: {error.strerror or sentence(error)}; "
            "choose another --out"
        ) from None
    return folder


def set_trials(folder: Path, algorithm: str, trials: int) -> None:
    """Say how many trials there shall be."""
    about = {"format": _FORMAT, "algorithm": algorithm, "trials": trials, "versions": versions()}
    write_whole(folder / _ABOUT, json.dumps(about, indent=2) + "\n")


def read_search(folder: Path) -> tuple[Plan, int]:
    """The plan of an existing folder, and how many trials there shall be.

    Raises:
        RunError: it is none, is of a newer version, or cannot be read.
    """
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        number, trials = int(about["format"]), int(about["trials"])
    except (OSError, ValueError, KeyError, TypeError):
        what = f"has no readable {_ABOUT}" if folder.is_dir() else "is no folder"
        raise RunError(f"{folder} is not the folder of a search: it {what}") from None
    if number > _FORMAT:
        raise RunError(
            f"{folder} is of version {number}, newer than this installation's {_FORMAT}; "
            "upgrade rllib-recsim"
        )
    path = folder / _PLAN
    try:
        data = strict_yaml.load(path.read_text(encoding="utf-8"))
        return make_plan([(str(path), data if isinstance(data, dict) else {})]), trials
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except strict_yaml.YamlError as error:
        raise RunError(f"{path}, {error}") from None
    except ConfigError as error:
        raise RunError(str(error)) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse a second search in the same folder while the block runs."""
    try:
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another search runs in {folder}; wait for it") from None
        yield
