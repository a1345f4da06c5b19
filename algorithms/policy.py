"""The portable policy: load and recommend, without Ray, RLlib or a simulator.

A policy is a folder: `policy.json` says what it is and what it expects,
`policy.safetensors` holds its weights. Nothing in it is unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from algorithms.core.agent import ActionDistribution, Agent, Decision, Exploration
from algorithms.registry import agent_class
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec

SCHEMA_VERSION = 1
_JSON, _WEIGHTS = "policy.json", "policy.safetensors"


class PolicyError(ValueError):
    """A policy folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Recommendation:
    """What a policy shows and how likely it was to show that.

    Where actions are made, `slates` are numbers, (B, A), with the log-densities of
    each, and `scores` their means.

    Attributes:
        slates: positions of the shown candidates, (B, K).
        log_prob: of the ordered slate, (B,).
        slot_log_probs: of each slot given the earlier ones, (B, K).
        scores: log-weights of all candidates, (B, N).
        distribution: what the slates were drawn from.
    """

    slates: Tensor
    log_prob: Tensor
    slot_log_probs: Tensor
    scores: Tensor
    distribution: ActionDistribution


class Policy:
    """A trained agent with everything that is needed to use it.

    Attributes:
        agent: the network and its way of choosing slates.
        exploration: how far `recommend` departs from the best slate.
        reward: name of the reward function that it was trained on.
        version: number of updates behind the weights.
        info: anything else worth keeping: versions, environment, seed.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        exploration: Exploration | None = None,
        reward: str = "reward",
        version: int = 0,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Wrap an agent; its weights are not copied."""
        self.agent = agent.eval()
        self.exploration = exploration or Exploration()
        self.reward, self.version = reward, version
        self.info = dict(info or {})

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return self.agent.name

    @property
    def spec(self) -> FeatureSpec:
        """What it expects of users, candidates and responses."""
        return self.agent.spec

    @property
    def history(self) -> History:
        """What it expects to remember of a session."""
        return self.agent.history

    @property
    def slate_size(self) -> int:
        """K, the slate size that it was trained for."""
        return self.agent.slate_size

    def distribution(
        self, observation: Observation, *, explore: bool = True, slate_size: int | None = None
    ) -> ActionDistribution:
        """The distribution that `recommend` draws from.

        Raises:
            ValueError: the observation does not fit the policy's features.
        """
        return self._decide(observation, explore, slate_size)[1]

    @torch.no_grad()
    def _decide(
        self, observation: Observation, explore: bool, slate_size: int | None
    ) -> tuple[Decision, ActionDistribution]:
        self._check(observation)
        size = self.slate_size if slate_size is None else slate_size
        offered = observation.mask.shape[1]
        if not 1 <= size <= offered:
            raise ValueError(
                f"slates of {size} are asked for and {offered} candidates are offered; ask for "
                "1 to as many as there are candidates"
            )
        decide = self.agent.decide if explore else self.agent.exploit
        decision, exploration = decide(observation, size), self.acting(explore)
        return decision, self.agent.distribution_of(decision, observation, exploration, size)

    def acting(self, explore: bool) -> Exploration:
        """How far it departs from the best slates, in training (`explore`) or else."""
        chosen = self.exploration if explore else Exploration()
        return self.agent.fixed_exploration or chosen

    def recommend(
        self,
        observation: Observation,
        *,
        explore: bool = True,
        slate_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Recommendation:
        """Slates for a batch of users.

        Args:
            observation: of B users; any number of candidates.
            explore: False takes the best slates.
            slate_size: K, as trained if not given.
            generator: of the policy's own draws.

        Raises:
            ValueError: the observation does not fit the policy's features.
        """
        decision, distribution = self._decide(observation, explore, slate_size)
        slates, slot_log_probs = distribution.sample(generator)
        return Recommendation(
            slates,
            slot_log_probs.sum(dim=1),
            slot_log_probs,
            decision.log_weights,
            distribution,
        )

    def _check(self, observation: Observation) -> None:
        found = (
            observation.user.shape[1],
            observation.candidates.shape[2],
            observation.history.shape[1],
        )
        expected = (self.spec.user_size, self.spec.candidate_size, self.history.size)
        if found != expected:
            raise ValueError(
                f"the observation has {found[0]} user, {found[1]} candidate and {found[2]} history "
                f"columns; this policy expects {expected[0]}, {expected[1]} and {expected[2]}"
            )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the folder; each file is whole or not there."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        weights = {
            name: value.detach().cpu().contiguous()
            for name, value in self.agent.state_dict().items()
        }
        description = {
            "schema_version": SCHEMA_VERSION,
            "algorithm": self.algorithm,
            "version": self.version,
            "features": self.spec.to_json(),
            "history": {"version": self.history.version, "terms": self.history.to_json()},
            "reward": self.reward,
            "slate_size": self.slate_size,
            "exploration": asdict(self.exploration),
            "settings": self.agent.settings,
            "info": self.info,
        }
        partial = path / f".{_WEIGHTS}.partial"
        partial.write_bytes(save(weights))
        os.replace(partial, path / _WEIGHTS)
        # The description last: a folder with one is a whole policy.
        partial = path / f".{_JSON}.partial"
        partial.write_text(json.dumps(description, indent=2, allow_nan=False) + "\n")
        os.replace(partial, path / _JSON)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Policy:
        """Read a policy folder, or the `policy/` of a run folder.

        Raises:
            PolicyError: it is none, is of a newer version, or is damaged.
        """
        path = Path(folder)
        if not (path / _JSON).exists() and (path / "policy" / _JSON).exists():
            path = path / "policy"
        data = _read_description(path)
        try:
            spec = FeatureSpec.from_json(data["features"])
            history = History.from_json(spec, data["history"]["terms"])
            agent = agent_class(data["algorithm"])(
                spec, history, data["slate_size"], data["settings"]
            )
            exploration = Exploration(**data["exploration"])
            agent.load_state_dict(load_file(path / _WEIGHTS))
        except FileNotFoundError:
            raise PolicyError(
                f"{path} has no {_WEIGHTS}; export the policy again or use a whole copy"
            ) from None
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise PolicyError(
                f"the policy in {path} is damaged ({_first_line(error)}); "
                "export it again or use another copy"
            ) from None
        if history.version != data["history"]["version"]:
            raise PolicyError(
                f"the policy in {path} was trained with history version "
                f"{data['history']['version']}, but this installation computes {history.version}; "
                "use the version of rllib-recsim that wrote it, or train it again"
            )
        bad = [name for name, value in agent.state_dict().items() if not value.isfinite().all()]
        if bad:
            raise PolicyError(
                f"the policy in {path} has non-finite weights in {bad[0]}; train it again"
            )
        return cls(
            agent,
            exploration=exploration,
            reward=data["reward"],
            version=data["version"],
            info=data.get("info"),
        )


def _read_description(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads((path / _JSON).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise PolicyError(
            f"{path} holds no policy (no {_JSON}); give a run folder or its policy/ folder"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise PolicyError(f"{path / _JSON} is not valid JSON; use another copy") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise PolicyError(f"{path / _JSON} names no schema_version; it is not a policy of ours")
    if version > SCHEMA_VERSION:
        raise PolicyError(
            f"the policy in {path} is of schema version {version}, newer than this installation's "
            f"{SCHEMA_VERSION}; upgrade rllib-recsim"
        )
    return data


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def baseline(name: str, spec: FeatureSpec, history: History, slate_size: int) -> Policy:
    """A policy that needs no training, such as `random` or `click_maximiser`."""
    return Policy(agent_class(name)(spec, history, slate_size, {}))
