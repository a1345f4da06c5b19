"""The run folder: all that `evaluate`, `offline`, `serve` and `--resume` need.

Whatever stands in it is whole: files and checkpoints are written under a
temporary name and renamed, and checkpoints carry checksums.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from algorithms import strict_yaml
from algorithms.checkpoints import (
    SUMS,
    Checkpoint,
    checksums,
    damage,
    replace_folder,
    write_whole,
)
from algorithms.config import RunConfig, parse
from algorithms.layers import ConfigError, Layer

__all__ = [
    "Checkpoint",
    "Run",
    "RunError",
    "RunFolder",
    "about",
    "checksums",
    "create_folder",
    "create_run",
    "damage",
    "read_config",
    "read_run",
    "versions",
    "write_whole",
]

logger = logging.getLogger(__name__)

FORMAT = 1
MINIMUM_FREE = 20 * 2**20
"""Bytes below which a run does not start; the default run needs about 5 MB."""

_RUN, _CONFIG, _RESULT, _STATE = "run.json", "config.yaml", "result.json", "state.json"


_COMMANDS = {"online": "`algorithms.train`", "offline": "`offline.train`"}


class RunError(ValueError):
    """A run folder that cannot be used or written; the message is one sentence."""


class Described(Protocol):
    """The config of whatever runs in a folder."""

    @property
    def algorithm(self) -> str:
        """What is trained."""

    @property
    def keep_checkpoints(self) -> int:
        """How many of the last checkpoints stay."""

    def to_plain(self) -> dict[str, Any]:
        """Plain data, as it stands in `config.yaml`."""


C = TypeVar("C", bound=Described)


@dataclass(frozen=True)
class RunFolder(Generic[C]):
    """A run folder, whatever runs there.

    Attributes:
        path: the folder.
        config: what runs there.
    """

    path: Path
    config: C

    @property
    def policy(self) -> Path:
        """The folder of the exported policy."""
        return self.path / "policy"

    @property
    def metrics(self) -> Path:
        """The CSV file."""
        return self.path / "metrics.csv"

    @property
    def evaluation(self) -> Path:
        """What each user of the final evaluation got; see `EvaluationResult.load`."""
        return self.path / "evaluation.npz"

    @property
    def checkpoints(self) -> Path:
        """The folder of all checkpoints."""
        return self.path / "checkpoints"

    def result(self) -> dict[str, Any] | None:
        """What the run came to, `None` before it has ended.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / _RESULT
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise RunError(
                f"{path} is damaged; remove it, and --resume ends the run again"
            ) from None
        return found

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        write_whole(self.path / _RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")

    def save(
        self, name: str, write: Callable[[Path], None], state: Mapping[str, Any]
    ) -> Checkpoint:
        """Write a checkpoint under a temporary name, and rename it when it is whole.

        Args:
            name: of the checkpoint; an earlier one of that name is replaced.
            write: fills a folder.
            state: to keep beside it, as plain data.

        Raises:
            OSError: the disk is full, say; earlier checkpoints stay.
        """
        target, partial = self.checkpoints / name, self.checkpoints / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            write(partial)
            (partial / _STATE).write_text(json.dumps(state, indent=2) + "\n")
            (partial / SUMS).write_text(json.dumps(checksums(partial), indent=2) + "\n")
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Checkpoint(target, dict(state))

    def save_step(
        self, steps: int, write: Callable[[Path], None], state: Mapping[str, Any]
    ) -> Checkpoint:
        """Save the checkpoint of a step, and forget the ones before the last few."""
        saved = self.save(f"step-{steps:012d}", write, state)
        for old in self._steps()[self.config.keep_checkpoints :]:
            shutil.rmtree(old, ignore_errors=True)
        return saved

    def _steps(self) -> list[Path]:
        """Checkpoints of steps, the last one first."""
        return sorted(self.checkpoints.glob("step-*"), reverse=True)

    def latest(self) -> Checkpoint:
        """The last checkpoint that is whole.

        Raises:
            RunError: there is none.
        """
        found = self._steps()
        for path in found:
            fault = damage(path)
            if fault is None:
                return Checkpoint(path, json.loads((path / _STATE).read_text()))
            logger.warning("The checkpoint %s is damaged (%s); looking further back.", path, fault)
        if found:
            raise RunError(
                f"every checkpoint of {self.path} is damaged ({damage(found[0])}); "
                "use another copy of the folder, or start a new run"
            )
        raise RunError(f"{self.path} has no checkpoint yet; start a new run")


class Run(RunFolder[RunConfig]):
    """The folder of a run that samples from a world."""


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    names = ("rllib-recsim", "ray", "torch", "numpy", "gymnasium", "recsim")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def create_run(config: RunConfig, out: Path | None = None) -> Run:
    """A new run folder.

    Args:
        config: what will run there; also written as `config.yaml`.
        out: the folder; `runs/<algorithm>-<environment>-<time>` if not given.

    Raises:
        RunError: it cannot be written, is in use, or the disk is full.
    """
    world = config.env.name.replace(":", ".").rpartition("/")[2]
    return Run(create_folder(config, "online", f"{config.algorithm}-{world}", out), config)


def create_folder(config: Described, kind: str, name: str, out: Path | None = None) -> Path:
    """A new run folder with its config.

    Args:
        config: what will run there.
        kind: of run; `about` reads it back.
        name: with a time behind it, under `runs/`, that of the folder if `out` is not given.
        out: the folder.

    Raises:
        RunError: it cannot be written, is in use, or the disk is full.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    wanted = Path("runs") / f"{name}-{stamp}" if out is None else out
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        path = _create(config, kind, wanted, counted=out is None)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise RunError(f"cannot write the run folder {wanted}: {error.strerror}") from None
    if free < MINIMUM_FREE:
        shutil.rmtree(path, ignore_errors=True)
        raise RunError(
            f"the disk of {wanted} has {free / 2**20:.0f} MB left; "
            f"make {MINIMUM_FREE // 2**20} MB free or choose another folder with --out"
        )
    return path


def _create(config: Described, kind: str, wanted: Path, counted: bool) -> Path:
    partial = wanted.with_name(f".{wanted.name}.{os.getpid()}.partial")
    try:
        (partial / "checkpoints").mkdir(parents=True)
        about = {"format": FORMAT, "kind": kind, "algorithm": config.algorithm}
        about["versions"] = versions()
        (partial / _RUN).write_text(json.dumps(about, indent=2) + "\n")
        (partial / _CONFIG).write_text(strict_yaml.dump(config.to_plain()))
        for path in _names(wanted) if counted else [wanted]:
            try:
                # Renaming onto a folder succeeds only where that is empty.
                os.rename(partial, path)
            except OSError:
                if not path.exists():
                    raise
                continue
            return path
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    raise RunError(
        f"{wanted} is there already; choose another --out, or continue a run with --resume"
    )


def _names(wanted: Path) -> Iterator[Path]:
    yield wanted
    for number in range(2, 1000):
        yield wanted.with_name(f"{wanted.name}-{number}")


def about(path: Path) -> dict[str, Any]:
    """What kind of run is in a folder, of which algorithm, and with which versions.

    Raises:
        RunError: it is no run folder, or is of a newer version.
    """
    try:
        found: dict[str, Any] = json.loads((path / _RUN).read_text())
        number = found["format"]
    except (OSError, ValueError, KeyError, TypeError):
        what = "has no readable run.json" if path.is_dir() else "is no folder"
        raise RunError(f"{path} is not a run folder: it {what}") from None
    if not isinstance(number, int) or number > FORMAT:
        raise RunError(
            f"{path} is a run folder of version {number}, newer than this installation's "
            f"{FORMAT}; upgrade rllib-recsim"
        )
    return {"kind": "online", **found}


def read_config(path: Path, kind: str, read: Callable[[Sequence[Layer]], C]) -> C:
    """The config of an existing run folder.

    Args:
        path: the folder.
        kind: of run that it has to be.
        read: checks the layers of a config.

    Raises:
        RunError: it is none, is of another kind or a newer version, or cannot be read.
    """
    found = about(path)["kind"]
    if found != kind:
        raise RunError(
            f"{path} is a run of {_COMMANDS.get(found, found)}, not of {_COMMANDS[kind]}; "
            "continue it there"
        )
    source = str(path / _CONFIG)
    try:
        data = strict_yaml.load((path / _CONFIG).read_text(encoding="utf-8"))
        return read([(source, data if isinstance(data, dict) else {})])
    except OSError as error:
        raise RunError(f"cannot read {source}: {error.strerror}") from None
    except strict_yaml.YamlError as error:
        raise RunError(f"{source}, {error}") from None
    except ConfigError as error:
        raise RunError(str(error)) from None


def read_run(path: Path) -> Run:
    """An existing run folder.

    Raises:
        RunError: it is none, is of a newer version, or its config cannot be read.
    """
    return Run(path, read_config(path, "online", parse))
