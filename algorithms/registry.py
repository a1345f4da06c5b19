"""Finds the algorithms of this package.

Adding one is adding a folder whose `__init__.py` sets `ALGORITHMS` (what can
be trained) or `AGENTS` (what can act); neither may import Ray.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from algorithms.core.agent import Agent
from algorithms.core.settings import ActingSettings


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm that can be trained.

    Attributes:
        name: on the command line, in configs and in result files.
        settings: its settings, as a strict model.
        agent: what it trains.
        config: `module:Class` of its RLlib config, imported only when a run starts.
        summary: one line for `--list`.
    """

    name: str
    settings: type[ActingSettings]
    agent: type[Agent]
    config: str
    summary: str

    def load_config(self) -> Any:
        """A fresh RLlib config; imports Ray."""
        module, name = self.config.split(":")
        return getattr(importlib.import_module(module), name)()


@cache
def _found() -> tuple[dict[str, AlgorithmEntry], dict[str, type[Agent]]]:
    trainable: dict[str, AlgorithmEntry] = {}
    agents: dict[str, type[Agent]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.ispkg and module.name not in ("core", "rllib"):
            package = importlib.import_module(f"algorithms.{module.name}")
            for entry in getattr(package, "ALGORITHMS", ()):
                trainable[entry.name] = entry
                agents[entry.name] = entry.agent
            agents.update({agent.name: agent for agent in getattr(package, "AGENTS", ())})
    return dict(sorted(trainable.items())), dict(sorted(agents.items()))


FURTHER = ("offline.learning.registry",)
"""Modules of packages that build on this one, with `agents` and `find_agent`.

By name, since nothing here imports those packages; asked only for what is not found here.
"""


def _further() -> list[Any]:
    there = [name for name in FURTHER if importlib.util.find_spec(name.partition(".")[0])]
    return [importlib.import_module(name) for name in there]


def algorithm_names() -> list[str]:
    """Names of all algorithms that can be trained."""
    return list(_found()[0])


def agent_names() -> list[str]:
    """Names of everything that can act, baselines included."""
    return list(_found()[1])


def baseline_names() -> list[str]:
    """Names of what acts without training."""
    return [name for name in agent_names() if name not in algorithm_names()]


def algorithm(name: str) -> AlgorithmEntry:
    """The algorithm called `name`.

    Raises:
        ValueError: there is none; names the nearest.
    """
    if name not in _found()[0]:
        raise ValueError(f"unknown algorithm '{name}'; {nearest(name, algorithm_names())}")
    return _found()[0][name]


def agent_class(name: str) -> type[Agent]:
    """The agent called `name`.

    Raises:
        ValueError: there is none; names the nearest.
    """
    if name in _found()[1]:
        return _found()[1][name]
    for module in _further():
        found: type[Agent] | None = module.find_agent(name)
        if found is not None:
            return found
    names = [*agent_names(), *(other for module in _further() for other in module.agents())]
    raise ValueError(f"unknown policy '{name}'; {nearest(name, names)}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint at what was meant."""
    choices = list(allowed)
    near = difflib.get_close_matches(name, choices, 1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(choices)}"
