"""Finds the offline learners.

Adding one is adding a folder `offline/NAME/` with a module `agent.py` and an `__init__.py`
that sets `LEARNERS`, and a file `configs/offline/NAME.yaml`. Nothing here imports Ray.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from algorithms.core.agent import Agent
from algorithms.registry import nearest
from offline.learning.agent import OfflineAgent
from offline.learning.settings import LearnerSettings


@dataclass(frozen=True)
class LearnerEntry:
    """An offline learner.

    Attributes:
        name: on the command line, in configs and in result files.
        agent: what it trains.
        summary: one line for `--list`.
    """

    name: str
    agent: type[OfflineAgent]
    summary: str

    @property
    def settings(self) -> type[LearnerSettings]:
        """Its settings, as a strict model."""
        return self.agent.options_class


_ROOT = Path(__file__).parent.parent


def _entries(folder: str) -> Sequence[LearnerEntry]:
    package = importlib.import_module(f"offline.{folder}")
    entries: Sequence[LearnerEntry] = getattr(package, "LEARNERS", ())
    return entries


@cache
def _found() -> dict[str, LearnerEntry]:
    found: dict[str, LearnerEntry] = {}
    for module in sorted(_ROOT.glob("*/agent.py")):
        found |= {entry.name: entry for entry in _entries(module.parent.name)}
    return dict(sorted(found.items()))


def learner_names() -> list[str]:
    """Names of all offline learners."""
    return list(_found())


def learner(name: str) -> LearnerEntry:
    """The offline learner called `name`.

    Raises:
        ValueError: there is none; names the nearest.
    """
    if name not in _found():
        raise ValueError(f"unknown offline learner '{name}'; {nearest(name, learner_names())}")
    return _found()[name]


def agents() -> dict[str, type[Agent]]:
    """Agents that exported policies may name, by those names."""
    return {entry.agent.name: entry.agent for entry in _found().values()}


def find_agent(name: str) -> type[Agent] | None:
    """One of `agents`; `algorithms.registry` asks for it.

    Looks into the folder of that name first: a server that loads one policy has no use
    for what all the others import.
    """
    if (_ROOT / name / "agent.py").exists():
        for entry in _entries(name):
            if entry.agent.name == name:
                return entry.agent
    return agents().get(name)
