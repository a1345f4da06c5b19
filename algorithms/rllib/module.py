"""An agent as RLlib's RLModule."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from algorithms.core.agent import Agent, Decision, Exploration
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class SlateModule(TorchRLModule, InferenceOnlyAPI):
    """Holds an agent, and a copy of it where the algorithm bootstraps from a target network."""

    def setup(self) -> None:
        """Build the agent from `model_config`, with weights that only the seed decides."""
        config = self.model_config
        module, name = config["agent"].split(":")
        agent_class: type[Agent] = getattr(importlib.import_module(module), name)
        spec = FeatureSpec.from_json(config["spec"])
        history = History.from_json(spec, config["history"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config["seed"])
            self.agent = agent_class(spec, history, config["slate_size"], config["settings"])
        self.target_agent: Agent | None = None
        if self.agent.needs_target and not self.inference_only:
            self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)

    def get_non_inference_attributes(self) -> list[str]:
        """What a runner does not need."""
        return ["target_agent"]

    def get_state(
        self, *args: Any, inference_only: bool = False, **kwargs: Any
    ) -> dict[str, NDArray[Any]]:
        """The weights, each in its own precision: RLlib rounds float64 and int64 to half."""
        left_out = self.get_non_inference_attributes() if inference_only else []
        return {
            name: np.array(value.cpu())
            for name, value in self.state_dict().items()
            if name.split(".")[0] not in left_out
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`, also from one that holds more.

        Raises:
            ValueError: a module that only acts would lack weights.
        """
        weights = {name: torch.tensor(value) for name, value in state.items()}
        missing = self.load_state_dict(weights, strict=False).missing_keys
        if self.inference_only and missing:
            raise ValueError(f"the state lacks weights of this module: {', '.join(missing)}")

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._act(batch, self.agent.exploit, Exploration())

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        settings = self.model_config["settings"]
        exploration = Exploration(settings["epsilon"], settings["temperature"])
        return self._act(batch, self.agent.decide, exploration)

    @torch.no_grad()
    def _act(
        self,
        batch: dict[str, Any],
        decide: Callable[[Observation, int], Decision],
        exploration: Exploration,
    ) -> dict[str, Any]:
        observation, size = as_observation(batch[Columns.OBS]), self.agent.slate_size
        decision = decide(observation, size)
        distribution = self.agent.distribution_of(decision, observation, exploration, size)
        slates, slot_log_probs = distribution.sample(None)
        return {Columns.ACTIONS: slates, Columns.ACTION_LOGP: slot_log_probs.sum(dim=1)}

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return self.agent.predict(batch)


def as_observation(columns: dict[str, Tensor]) -> Observation:
    """RLlib's dict of observation columns as an `Observation`."""
    fields = {name: torch.as_tensor(columns[name]) for name in Observation._fields}
    fields["mask"] = fields["mask"].bool()
    return Observation(**fields)
