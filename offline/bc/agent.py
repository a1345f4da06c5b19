"""Behaviour cloning: the slate distribution under which the logged slates are most likely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from algorithms.core.agent import Agent, Decision
from algorithms.core.identifiers import ids_of
from algorithms.core.settings import Widths
from algorithms.policy_gradient.network import PolicyNetwork
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec
from offline.learning.agent import OfflineAgent
from offline.learning.likelihood import slate_log_likelihood
from offline.learning.settings import LearnerSettings

if TYPE_CHECKING:
    from offline.log import Rows

CHOSEN = ("user", "history", "candidates", "mask", "slate", "pinned")
"""Columns of the log: what was seen, and what was shown."""


class BCSettings(LearnerSettings):
    """Behaviour cloning.

    Attributes:
        temperature: at which the exported policy explores; 1 is the cloned policy itself.
        hidden: widths of the layers over user and history.
        item_hidden: widths of the layers over a candidate; none takes it as it is.
        layer_norm: normalise each layer over user and history.
        use_appeal: whether log-weights may depend on how attractive a candidate is at
            first sight, where the log's features declare what says so.
    """

    temperature: float = Field(1.0, ge=0)
    hidden: Widths = (128, 128)
    item_hidden: Widths = ()
    layer_norm: bool = True
    use_appeal: bool = True

    @property
    def value_scale(self) -> float:
        """Of the value of the state, which is not used."""
        return 1.0

    @property
    def initial_value(self) -> float:
        """The same."""
        return 0.0


class BCAgent(OfflineAgent):
    """A Plackett-Luce policy over slates, fitted by maximum likelihood.

    loss = -mean(log pi(slate | state)), over what the logging policy chose: pinned slots
    and slots beyond a slate's end add nothing.

    Source: Pomerleau (1989), "ALVINN"; the likelihood as in Plackett (1975).
    """

    name: ClassVar[str] = "bc"
    options_class: ClassVar[type[LearnerSettings]] = BCSettings
    reads: ClassVar[tuple[str, ...]] = CHOSEN
    options: BCSettings

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights."""
        super().__init__(spec, history, slate_size, settings)
        self.network = PolicyNetwork(spec, history.size, self.options, ids_of(spec, history))

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Log-weights of the candidates."""
        code = self.network.encode(observation.user, observation.history)
        weights = self.network.log_weights(code, observation.user, observation.candidates)
        return Decision(weights, None, {})

    def log_columns(self, rows: Rows) -> dict[str, Tensor]:
        """What was seen and shown, of every row."""
        return chosen_columns(rows)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log-likelihood of what was shown, (rows,)."""
        code = self.network.encode(columns["user"], columns["history"])
        weights = self.network.log_weights(code, columns["user"], columns["candidates"])
        likelihood = slate_log_likelihood(
            weights, columns["mask"], columns["slate"], columns.get("pinned")
        )
        return {"log_likelihood": likelihood}

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """The mean negative log-likelihood."""
        return {"loss": -predicted["log_likelihood"].mean()}


def chosen_columns(rows: Rows) -> dict[str, Tensor]:
    """Columns `CHOSEN` of the log as tensors."""
    return {name: torch.from_numpy(rows[name]) for name in CHOSEN}
