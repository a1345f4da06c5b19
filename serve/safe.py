"""What answers where the policy fails: a user always gets a slate."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from algorithms.core.slates import SlateDistribution
from algorithms.layers import ConfigError
from serve.settings import SafeSection

VERSION = "1"


@dataclass(frozen=True)
class Safe:
    """The safe policy, which needs nothing but ids.

    Attributes:
        kind: `random` or `popular`.
        counts: how often each item was chosen, for `popular`; others count 0.
    """

    kind: str = "random"
    counts: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As answers and logs have it."""
        return f"safe_{self.kind}"

    def distribution(
        self,
        ids: Sequence[str],
        mask: Tensor,
        slate_size: int,
        epsilon: float,
        pinned: Tensor | None,
    ) -> SlateDistribution:
        """What it draws from, for one request.

        Args:
            ids: of the candidates, N.
            mask: (1, N).
            slate_size: K.
            epsilon: exploration asked for; `random` always explores.
            pinned: (1, K) or `None`.
        """
        if self.kind == "random":
            weights = torch.zeros(mask.shape)
            return SlateDistribution(weights, mask, slate_size, 1.0, 0.0, None, pinned)
        scores = [math.log1p(self.counts.get(name, 0.0)) for name in ids]
        weights = torch.tensor([scores])
        return SlateDistribution(weights, mask, slate_size, epsilon, 0.0, None, pinned)


def load_safe(settings: SafeSection) -> Safe:
    """The safe policy of a config.

    Raises:
        ConfigError: the counts cannot be read.
    """
    if settings.counts is None:
        return Safe(settings.kind)
    path = Path(settings.counts)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            counts = {line["id"]: float(line["count"]) for line in csv.DictReader(stream)}
    except OSError as error:
        raise ConfigError(f"cannot read safe.counts {path}: {error.strerror}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            f"safe.counts {path} must be a CSV file with columns id and count ({error})"
        ) from None
    bad = [name for name, count in counts.items() if not 0 <= count < math.inf]
    if bad:
        raise ConfigError(f"safe.counts {path} counts '{bad[0]}' {counts[bad[0]]}; from 0")
    return Safe(settings.kind, counts)
