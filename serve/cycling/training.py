"""Trains a candidate from the logs of a cycle."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algorithms.accounting import Clock
from algorithms.core.agent import Exploration
from algorithms.layers import ConfigError, Layer, Plain, packaged_layer
from algorithms.policy import Policy
from algorithms.progress import TrainingProgress
from algorithms.registry import nearest
from algorithms.training import Signals
from offline.learning.config import OfflineConfig, parse
from offline.learning.loop import OfflineTraining
from offline.learning.registry import learner_names
from offline.learning.result import finish
from offline.learning.run import create_run
from offline.learning.source import check, make_agent, open_source
from offline.log import LogError
from serve.cycling.settings import CycleSettings, ExploreSection

OURS = ("data", "init", "seed", "workers", "algorithm")
"""Keys of a learner's config that a cycle sets itself."""


def learner_config(
    settings: CycleSettings, logs: Sequence[Path], init: Path | None, number: int
) -> OfflineConfig:
    """The config of a pass's training.

    Args:
        settings: of the cycle.
        logs: to learn from.
        init: a policy to begin with.
        number: of the pass, from 1.

    Raises:
        ConfigError: `learn` holds what the learner does not know, or what is not its to say.
    """
    name = settings.learner
    own = packaged_layer(f"offline/{name}") if name in learner_names() else None
    if own is None:
        raise ConfigError(f"learner is '{name}'; {nearest(name, learner_names())}")
    _refuse(settings.learn)
    ours: Plain = {
        "algorithm": name,
        "seed": settings.seed + number - 1,
        "data": [str(log.resolve()) for log in logs],
        "init": None if init is None else str(init.resolve()),
        "train": {"holdout": settings.holdout, "select": "last"},
    }
    layers: list[Layer] = [own, ("learn", settings.learn), ("the cycle", ours)]
    config = parse(layers)
    _explores(config, settings.explore)
    return config


def _refuse(learn: Plain) -> None:
    """Refuse what would let a candidate be judged by what it has learned from."""
    for key in OURS:
        if key in learn:
            raise ConfigError(f"learn.{key} is the cycle's own to say; leave it out")
    plan = learn.get("train")
    for key in ("holdout", "select"):
        if isinstance(plan, dict) and key in plan:
            raise ConfigError(
                f"learn.train.{key} is the cycle's own to say, because held-out sessions judge "
                "the candidate and must not choose its weights; set holdout"
            )


def _explores(config: OfflineConfig, wanted: ExploreSection) -> None:
    found = exploration(
        Exploration(config.settings["epsilon"], config.settings["temperature"]), wanted
    )
    if not found.epsilon and not found.temperature:
        raise ConfigError(
            "explore.epsilon and explore.temperature leave a policy that never explores, whose "
            "log cannot judge the next one; set explore.epsilon to 0.1, for instance"
        )


def exploration(own: Exploration, wanted: ExploreSection) -> Exploration:
    """How a policy is to explore once it is deployed."""
    return Exploration(
        own.epsilon if wanted.epsilon is None else wanted.epsilon,
        own.temperature if wanted.temperature is None else wanted.temperature,
    )


def check_settings(settings: CycleSettings) -> None:
    """Find mistakes in the learner's config before any log is there.

    Raises:
        ConfigError: as of `learner_config`.
    """
    learner_config(settings, [Path("log")], None, 1)


def fits(config: OfflineConfig) -> bool:
    """Whether the weights to begin with are of a policy as this config asks for."""
    try:
        make_agent(config, open_source(config))
    except LogError:
        raise
    except ValueError:
        return False
    return True


def train(config: OfflineConfig, out: Path) -> dict[str, Any]:
    """Train in a new run folder; what an interrupted pass left there is removed.

    Returns:
        Figures of the run.

    Raises:
        Interrupted: the user asked to stop.
        LearningError: the numbers have become useless.
        ValueError: the log cannot be learned from.
    """
    shutil.rmtree(out, ignore_errors=True)
    check(config, open_source(config))
    run = create_run(config, None, out)
    training = OfflineTraining(run, None, Clock({"read": 0.0}))
    with Signals() as signals:
        with TrainingProgress(
            training.budget, 0, unit="updates", label="held-out loss", digits=4
        ) as progress:
            training.loop(progress, signals)
        result = finish(training, signals)
    names = ("algorithm", "rows", "updates", "epochs", "held_out", "return_mean", "seed")
    return {**{name: result[name] for name in names}, "coverage": result["coverage"]}


def save_exploring(run: Path, wanted: ExploreSection, out: Path) -> Policy:
    """The policy of a run, as it is to explore, in a folder of its own."""
    policy = Policy.load(run)
    policy.exploration = exploration(policy.exploration, wanted)
    policy.save(out)
    return policy
