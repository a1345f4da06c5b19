"""SlateQ: long-term values of items, composed into values of slates.

Source: Ie et al. (2019), "SlateQ: A tractable decomposition for reinforcement
learning with recommendation sets", arXiv:1905.12767. Deviations, each a
setting: no click has a learned value (the paper: 0), slates are optimised over
advantages to it, a session history is observed, and learning uses
lambda-returns on fresh fragments instead of a replay buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from algorithms.core.affinity import attraction, check_appeal, scores
from algorithms.core.agent import Agent, Decision
from algorithms.core.fragment import Fragment
from algorithms.core.identifiers import ids_of
from algorithms.core.optimise import optimise, slate_value
from algorithms.slateq import columns as rows
from algorithms.slateq.network import SlateQNetwork
from algorithms.slateq.settings import SlateQSettings
from envs.choice import ChoiceModel
from envs.history import History
from envs.simulator import Observation
from envs.spec import FeatureSpec


class SlateQAgent(Agent):
    """Q-values of items and of no click, and the slates they make best."""

    name: ClassVar[str] = "slateq"

    def __init__(
        self, spec: FeatureSpec, history: History, slate_size: int, settings: Mapping[str, Any]
    ) -> None:
        """Build with fresh weights.

        Raises:
            ValueError: the world declares no appeal and the choice is not learned.
        """
        super().__init__(spec, history, slate_size, settings)
        self.options = SlateQSettings(**settings)
        options = self.options
        if options.choice_scores == "appeal":
            check_appeal(spec)
        self.choice = ChoiceModel(
            options.choice_model,
            no_click_mass=options.choice_no_click_mass,
            min_normalizer=options.choice_min_normalizer,
            attention_prob=options.choice_attention_prob,
            score_scaling=options.choice_score_scaling,
        )
        self.needs_target = options.learning == "replay"
        self.network = SlateQNetwork(
            spec.user_size + history.size,
            spec.candidate_size,
            hidden=options.hidden,
            item_hidden=options.item_hidden,
            layer_norm=options.layer_norm,
            learned_no_click=options.no_click_value == "learned",
            learned_choice=options.choice_scores == "learned",
            value_scale=options.value_scale,
            initial_value=options.initial_value,
            ids=ids_of(spec, history),
        )

    def decide(self, observation: Observation, slate_size: int) -> Decision:
        """The best slate under the assumed choice model, and all values behind it."""
        user, candidates = observation.user, observation.candidates
        code = self.network.encode(user, observation.history)
        no_click = self.network.no_click_value(code)
        values = self.network.item_values(code, candidates)
        masses, no_click_mass = self.masses(code, user, candidates)
        advantages = values - no_click[:, None]
        problem = (advantages, masses, no_click_mass, observation.mask, slate_size)
        options = self.options
        best, worth = optimise(options.act_optimiser, self.choice.name, *problem)
        if options.target_optimiser != options.act_optimiser:
            _, worth = optimise(options.target_optimiser, self.choice.name, *problem)
        extras = {
            "value": no_click + worth,
            "no_click_value": no_click,
            "item_values": values,
            "masses": masses,
            "best": best,
        }
        return Decision(masses * (advantages - worth[:, None]), best, extras)

    def masses(self, code: Tensor, user: Tensor, candidates: Tensor) -> tuple[Tensor, float]:
        """How strongly each candidate attracts a click, (B, N), and no click."""
        if self.network.learned_choice:
            return attraction(
                ChoiceModel("multinomial_logit", no_click_mass=0.0),
                self.network.choice_logits(code, candidates),
            )
        return attraction(self.choice, scores(self.spec, user, candidates))

    @property
    def no_click_mass(self) -> float:
        """How strongly leaving without a click attracts, as `masses` says it."""
        return 1.0 if self.network.learned_choice else attraction(self.choice, torch.zeros(1, 1))[1]

    def shown_value(
        self, no_click: Tensor, values: Tensor, masses: Tensor, slates: Tensor
    ) -> Tensor:
        """Value of the slates shown, the expectation over the assumed choice, (B,)."""
        advantages = values - no_click[:, None]
        worth = slate_value(self.choice.name, advantages, masses, self.no_click_mass, slates)
        return no_click + worth

    def learn_columns(self, fragment: Fragment) -> dict[str, Tensor]:
        """Rows with finished targets (`fresh`), or with transitions (`replay`)."""
        if self.options.learning == "fresh":
            return rows.with_targets(self, fragment)
        return rows.with_transitions(self, fragment)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Q(s, chosen), and the logits of the slate where choices are learned."""
        code = self.network.encode(columns["user"], columns["history"])
        item = self.network.item_values(code, columns["item"][:, None])[:, 0]
        no_click = self.network.no_click_value(code)
        predicted = {"chosen_value": torch.where(columns["clicked"], item, no_click)}
        if self.network.learned_choice:
            predicted["logits"] = self.network.choice_logits(code, columns["shown"])
        return predicted

    def loss(
        self, columns: dict[str, Tensor], predicted: dict[str, Tensor], target: Agent | None
    ) -> dict[str, Tensor]:
        """Squared error to the targets, and the choice's cross-entropy where it is learned."""
        if target is None:
            goal = columns["target"]
        else:
            assert isinstance(target, SlateQAgent)
            goal = self.bootstrap(columns, target)
        error = (predicted["chosen_value"] - goal) / self.options.value_scale
        td_loss = error.square().mean()
        terms = {"loss": td_loss, "td_loss": td_loss, "value": predicted["chosen_value"].mean()}
        if "logits" in predicted:
            logits = functional.pad(predicted["logits"], (0, 1))
            terms["choice_loss"] = functional.cross_entropy(logits, columns["slot"])
            terms["loss"] = td_loss + terms["choice_loss"]
        return terms

    @torch.no_grad()
    def bootstrap(self, columns: dict[str, Tensor], target: SlateQAgent) -> Tensor:
        """One-step targets of replayed transitions, (rows,), from the target network."""
        user, candidates = columns["next_user"], columns["next_candidates"]
        observation = Observation(
            user,
            candidates,
            columns["next_mask"],
            user.new_zeros(0),
            user.new_zeros(0),
            columns["next_history"],
        )
        extras = target.decide(observation, self.slate_size).extras
        value = extras["value"]
        if self.options.target == "sarsa":
            value = target.shown_value(
                extras["no_click_value"],
                extras["item_values"],
                extras["masses"],
                columns["next_slates"],
            )
        going_on = (~columns["terminated"]).to(value.dtype)
        return columns["reward"] + self.options.gamma * going_on * value
