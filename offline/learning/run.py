"""The run folder of an offline learner: as an online one, with an offline config."""

from __future__ import annotations

from pathlib import Path

from algorithms.run import RunFolder, create_folder, read_config
from offline.learning.config import OfflineConfig, parse

KIND = "offline"


class OfflineRun(RunFolder[OfflineConfig]):
    """The folder of a run that learns from a log."""


def create_run(config: OfflineConfig, world: str | None, out: Path | None = None) -> OfflineRun:
    """A new run folder; `runs/offline-<learner>-<world>-<time>` if `out` is not given.

    Raises:
        RunError: it cannot be written, is in use, or the disk is full.
    """
    name = "-".join([KIND, config.algorithm, *([] if world is None else [world])])
    return OfflineRun(
        create_folder(config, KIND, name.replace(":", ".").replace("/", "."), out), config
    )


def read_run(path: Path) -> OfflineRun:
    """An existing run folder.

    Raises:
        RunError: it is none, is of another kind or a newer version, or cannot be read.
    """
    return OfflineRun(path, read_config(path, KIND, parse))
