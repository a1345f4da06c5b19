"""From the names on the command line to scorers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms.layers import (
    ConfigError,
    Layer,
    known,
    merge,
    override_layer,
    packaged_layer,
    read_layer,
    validated,
)
from algorithms.registry import algorithm, algorithm_names, nearest
from offline.log import LogError
from offline.ranking.evaluating import Scorer
from offline.ranking.scorers import KINDS
from offline.ranking.splits import Fold

OWN = "rank/scorers"
"""The packaged settings."""


@dataclass(frozen=True)
class Chosen:
    """A scorer that is still to learn.

    Attributes:
        name: as it was given.
        settings: its settings, checked; `None` of a policy.
        fit: learns from what comes before the held-out part.
    """

    name: str
    settings: Any
    fit: Callable[[Fold, int], Scorer]


def choose(
    names: Sequence[str], file: Path | None, overrides: Sequence[str], encoding: Path | None
) -> list[Chosen]:
    """The scorers of these names, everything checked that can be before data are read.

    Args:
        names: of scorers, run folders or policy folders.
        file: a YAML file of settings to lay over ours.
        overrides: `key=value` with dots in the key.
        encoding: folder of the log that a policy's features are encoded like; else that of
            the log that its run learned from.

    Raises:
        LogError: an unknown name, one twice, or an option that none of them looks at.
        ConfigError: settings that cannot be.
    """
    if not names:
        raise LogError(
            f"name what should rank: a run folder, or one of: {', '.join(scorer_names())}"
        )
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise LogError(f"'{twice}' is named twice; name each scorer once")
    layers = _layers(file, overrides, names)
    found = [_chosen(name, layers, encoding) for name in names]
    if encoding is not None and all(one.settings is not None for one in found):
        raise LogError("--encoding is about policies, and none is named; leave it out")
    return found


def _layers(file: Path | None, overrides: Sequence[str], named: Sequence[str]) -> list[Layer]:
    own = packaged_layer(OWN)
    if own is None:
        raise ConfigError(f"there is no configs/{OWN}.yaml; install the project again")
    layers = [own]
    if file is not None:
        layers.append(read_layer(file))
    for text in overrides:
        layer = override_layer(text)
        key = next(iter(layer[1]))
        if key in scorer_names() and key not in named:
            raise ConfigError(f"--set {text}: '{key}' is not among the scorers named; name it, too")
        layers.append(layer)
    known(layers, (), merge(layers), scorer_names())
    return layers


def scorer_names() -> list[str]:
    """Names of all that learn and rank here: those of `KINDS`, bandits and tables."""
    absorbing = [name for name in algorithm_names() if algorithm(name).agent.absorbs]
    return [*KINDS, *absorbing]


def summary(name: str) -> str:
    """One line about a scorer."""
    return KINDS[name].summary if name in KINDS else algorithm(name).summary


def _chosen(name: str, layers: list[Layer], encoding: Path | None) -> Chosen:
    if name in scorer_names():
        data = merge(layers).get(name)
        model = KINDS[name].settings if name in KINDS else algorithm(name).settings
        settings = validated(layers, (name,), model, {} if data is None else data)
        return Chosen(name, settings, lambda fold, seed: _learned(name, settings, fold, seed))
    if not Path(name).exists():
        raise LogError(
            f"'{name}' is neither a run folder nor a scorer; {nearest(name, scorer_names())}"
        )
    from offline.ranking.policies import ranks

    return Chosen(name, None, ranks(name, encoding))


def _learned(name: str, settings: Any, fold: Fold, seed: int) -> Scorer:
    if name in KINDS:
        return KINDS[name].fit(fold.fitted, settings, seed)
    from offline.ranking.absorbing import absorb

    try:
        return absorb(algorithm(name), fold.fitted, settings.model_dump(mode="json"), seed)
    except ValueError as error:
        raise LogError(
            f"'{name}' cannot learn from these data: {error}; change its settings with --set"
        ) from None
