"""Agents that learn a stochastic policy by its gradient: REINFORCE, A2C and PPO."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from algorithms.core.advantages import standardised
from algorithms.core.agent import (
    ActionDistribution,
    Agent,
    Decision,
    Exploration,
    slate_distribution,
)
from algorithms.core.fragment import Fragment
from algorithms.core.gaussian import DiagonalGaussian
from algorithms.core.slate_moments import check_enumerable
from algorithms.core.slates import SlateDistribution, plackett_luce
from algorithms.policy_gradient import columns as rows
from algorithms.policy_gradient.losses import (
    clipped_loss,
    divergence,
    likelihood_loss,
    shown_entropy,
)
from algorithms.policy_gradient.network import BoxNetwork, PolicyNetwork, ValueNetwork
from algorithms.policy_gradient.settings import (
    A2CSettings,
    PolicyGradientSettings,
    PPOSettings,
    ReinforceSettings,
)
from envs.history import History
from envs.simulator import Observation
from envs.spec import Actions, FeatureSpec


class PolicyGradientAgent(Agent):
    """A policy and a value of the state; subclasses say what the policy minimises."""

    actions: ClassVar[tuple[Actions, ...]] = ("slate", "box")
    options_class: ClassVar[type[PolicyGradientSettings]]

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights.

        Raises:
            ValueError: settings that do nothing where actions are of this kind.
        """
        super().__init__(spec, history, slate_size, settings)
        self.options = self.options_class(**settings)
        self.options.check_actions(spec.actions, slate_size)
        network_class = BoxNetwork if spec.actions == "box" else PolicyNetwork
        self.network = network_class(spec, history.size, self.options)
        self.values = (
            None
            if self.options.shared_body
            else ValueNetwork(spec.user_size + history.size, self.options)
        )

    def check_world(self, observation: Observation) -> None:
        """Refuse exact entropies of too many slates."""
        if self.spec.actions == "slate" and self.entropy_is_exact:
            instead = "set entropy to 'shown'" if self.slate_size > 1 else "lower num_candidates"
            check_enumerable(observation.mask.shape[1], self.slate_size, "entropy", instead)

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """Log-weights of the candidates or means of the action, and the state's value."""
        code, value = self._state(observation.user, observation.history)
        preferences = self._preferences(code, observation.user, observation.candidates)
        return Decision(preferences, None, {"value": value})

    def distribution_of(
        self,
        decision: Decision,
        observation: Observation,
        exploration: Exploration,
        slate_size: int,
    ) -> ActionDistribution:
        """Over slates by Plackett-Luce, over made actions by a diagonal Gaussian."""
        if isinstance(self.network, BoxNetwork):
            log_std = self.network.action_log_std()
            return DiagonalGaussian(decision.log_weights, log_std, exploration.temperature)
        return slate_distribution(decision, observation, exploration, slate_size)

    def _state(self, user: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """The encoded state, (B, ...), and its value, (B,)."""
        code = self.network.encode(user, history)
        value = self.network.value(code) if self.values is None else self.values(user, history)
        return code, value

    def _preferences(self, code: Tensor, user: Tensor, candidates: Tensor) -> Tensor:
        if isinstance(self.network, BoxNetwork):
            return self.network.mean(code)
        return self.network.log_weights(code, user, candidates)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Log-probability of what was done, the entropy and the value, (rows,) each."""
        code, value = self._state(columns["user"], columns["history"])
        preferences = self._preferences(code, columns["user"], columns["candidates"])
        policy: ActionDistribution
        if isinstance(self.network, BoxNetwork):
            policy = DiagonalGaussian(preferences, self.network.action_log_std())
        else:
            policy = plackett_luce(preferences, columns["mask"], self.slate_size)
        return {
            "value": value,
            "log_prob": policy.log_prob(columns["actions"]),
            "entropy": self._entropy(policy, columns["actions"]),
        }

    def _entropy(self, policy: ActionDistribution, actions: Tensor) -> Tensor:
        if isinstance(policy, SlateDistribution) and not self.entropy_is_exact:
            return shown_entropy(policy.log_weights, policy.mask, actions)
        return policy.entropy()

    @property
    def entropy_is_exact(self) -> bool:
        """Whether `predict` gives the policy's entropy, and not an estimate from what was shown."""
        one = self.spec.actions == "box" or self.slate_size == 1
        return one or self.options.entropy == "exact"

    def policy_terms(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], advantage: Tensor
    ) -> dict[str, Tensor]:
        """What the policy minimises, as `policy_loss`, with other scalars to report."""
        return {"policy_loss": likelihood_loss(predicted["log_prob"], advantage)}

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """The policy's loss, the value's squared error and the entropy, weighted."""
        options = self.options
        advantage = columns["advantage"]
        if options.standardise_advantages:
            advantage = standardised(advantage)
        else:
            advantage = advantage / options.value_scale
        terms = self.policy_terms(columns, predicted, advantage)
        error = (predicted["value"] - columns["return"]) / options.value_scale
        terms["value_loss"] = 0.5 * error.square().mean()
        terms["value"] = predicted["value"].mean()
        entropy = predicted["entropy"].mean()
        terms["entropy" if self.entropy_is_exact else "entropy_estimate"] = entropy
        terms["loss"] = (
            terms["policy_loss"]
            + options.value_coeff * terms["value_loss"]
            - options.entropy_coeff * entropy
        )
        return terms


class ReinforceAgent(PolicyGradientAgent):
    """REINFORCE: the gradient of log-likelihoods, weighted by returns of whole sessions.

    Only steps whose session ends inside the fragment are learned from; the
    others are left out, because their return is not known yet. That favours
    what ends soon, so a fragment should be several sessions long. A session that
    the time limit ends counts as complete, with what it has earned.

    Source: Williams (1992), "Simple statistical gradient-following algorithms
    for connectionist reinforcement learning". Deviation: the factor
    discount^t on step t is left out, as almost everywhere.
    """

    name: ClassVar[str] = "reinforce"
    options_class = ReinforceSettings
    options: ReinforceSettings

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """Rows of complete sessions, with their returns; there may be none."""
        return rows.with_returns(fragment, self.options)


class A2CAgent(PolicyGradientAgent):
    """Advantage actor-critic, the synchronous form of A3C.

    It is `PPOAgent` with these settings: `num_epochs` 1, `minibatch_size` of a
    batch or more, `clip` null, `kl_coeff` 0, `lambda_` 1 and one `lr`; all others
    have one meaning for both. The gradients are then equal, as long as no remote
    workers play: PPO's act one update behind the learner, A2C's wait for it.
    What remains is the value of the reported `policy_loss`: the mean of
    -log pi * A here, of -(pi / pi_old) * A there. With several minibatches a
    batch they differ, because PPO weighs by the ratio to the policy that acted.

    Source: Mnih et al. (2016), arXiv:1602.01783. Deviations: all users step
    together, advantages are standardised by default, Adam instead of RMSProp.
    """

    name: ClassVar[str] = "a2c"
    options_class = A2CSettings
    options: A2CSettings

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """All rows, with advantages by the present network, which acted."""
        return rows.with_advantages(fragment, self.options.gamma, self.options.lambda_)


class PPOAgent(PolicyGradientAgent):
    """Proximal policy optimisation with clipped ratios.

    Source: Schulman et al. (2017), arXiv:1707.06347. Deviations: a slate is one
    action with one ratio; no clamp on the value's error, because returns are
    far from 0; no adaptive divergence penalty.
    """

    name: ClassVar[str] = "ppo"
    options_class = PPOSettings
    options: PPOSettings

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """All rows, with present advantages and log-probabilities of the network that acted."""
        return rows.with_advantages(
            fragment, self.options.gamma, self.options.lambda_, log_probs=True
        )

    def policy_terms(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], advantage: Tensor
    ) -> dict[str, Tensor]:
        """The clipped objective, and how far the policy has moved."""
        now, before = predicted["log_prob"], columns["log_prob"]
        kl = divergence(now, before)
        policy_loss = clipped_loss(now, before, advantage, self.options.clip)
        clipped = ((now - before).exp() - 1).abs() > (self.options.clip or math.inf)
        return {
            "policy_loss": policy_loss + self.options.kl_coeff * kl,
            "kl": kl,
            "clipped_share": clipped.to(now.dtype).mean(),
        }
