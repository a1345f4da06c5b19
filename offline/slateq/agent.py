"""SlateQ from a log: conservative Q-learning over slates, with returns along the log.

Source: Ie et al. (2019), arXiv:1905.12767, for slates; Harutyunyan et al. (2016),
arXiv:1602.04951, for returns with full traces, and Munos et al. (2016), arXiv:1606.02647,
for Retrace; Kumar et al. (2020), arXiv:2006.04779, for the penalty. Deviation: what these
call the action is what the user chose, a click or none. Under
SlateQ's assumption that nothing else of a slate matters for what follows, the ratio of
pi to mu is that of the two choice probabilities, from the best slate and from the logged
one. It is 0 only where the chosen item is not on the best slate, so that most traces
survive where those of whole slates would all be cut, and needs no propensities.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from algorithms.core.optimise import check_method
from algorithms.slateq.agent import SlateQAgent
from algorithms.slateq.settings import ChoiceName
from offline.learning.settings import LearnerSettings
from offline.log import LogError
from offline.values.agent import OfflineValueAgent, Valued, acted, observed
from offline.values.penalty import conservative_gap
from offline.values.returns import choice_probability
from offline.values.settings import OfflineValueSettings

_TINY = 1e-12


class OfflineSlateQSettings(OfflineValueSettings):
    """What offline SlateQ adds; each as in `algorithms.slateq.settings`.

    Attributes:
        optimiser: finds the slate to show and to bootstrap from.
        choice_model: what the agent assumes of the user's choice.
        choice_scores: `appeal`, the log's declared dot product, or `learned`.
        choice_no_click_mass: score of no click, for multinomial models.
        choice_min_normalizer: subtracted from scores, for proportional models.
        choice_attention_prob: probability of looking on, for cascades.
        choice_score_scaling: factor from score to probability, for cascades.
    """

    optimiser: Literal["exact", "greedy", "top_k"] = "exact"
    choice_model: ChoiceName = "multinomial_proportional"
    choice_scores: Literal["appeal", "learned"] = "appeal"
    choice_no_click_mass: float = 1.0
    choice_min_normalizer: float = -1.0
    choice_attention_prob: float = Field(0.65, ge=0, le=1)
    choice_score_scaling: float = Field(0.05, ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> OfflineSlateQSettings:
        check_method(self.optimiser, self.choice_model)
        if self.choice_scores == "learned" and self.choice_model != "multinomial_logit":
            raise ValueError(
                f"choice_scores 'learned' learns a multinomial logit, not {self.choice_model}; "
                "set choice_model to 'multinomial_logit'"
            )
        return self


class OfflineSlateQAgent(OfflineValueAgent):
    """Trains the online SlateQ's network from a log; its policy is an ordinary one."""

    name: ClassVar[str] = "slateq"
    options_class: ClassVar[type[LearnerSettings]] = OfflineSlateQSettings
    options: OfflineSlateQSettings
    online: SlateQAgent

    def make_online(self) -> SlateQAgent:
        """The ordinary SlateQ agent."""
        names = [name for name in OfflineSlateQSettings.model_fields if name.startswith("choice_")]
        settings = {
            **self.options.network(),
            **{name: getattr(self.options, name) for name in names},
            "act_optimiser": self.options.optimiser,
            "target_optimiser": self.options.optimiser,
        }
        return SlateQAgent(self.spec, self.history, self.slate_size, settings)

    def chosen(self, columns: dict[str, Tensor]) -> Tensor:
        """The clicked position.

        Raises:
            LogError: several clicks on a slate.
        """
        click = columns["response"][..., self.spec.response_slice("click")].squeeze(-1)
        clicks = (click * (columns["slate"] >= 0)).sum(1)
        if bool((clicks > 1).any()):
            raise LogError(
                "a slate got several clicks, but SlateQ's choice models allow one; keep the "
                "first click only when writing the log"
            )
        first = click.argmax(1)
        position = columns["slate"].gather(1, first[:, None])[:, 0]
        return torch.where(clicks > 0, position, -1)

    def valued(self, columns: dict[str, Tensor]) -> Valued:
        """Of the best slate, of the click or its absence, and the ratio of probabilities."""
        extras = self.online.decide(observed(columns), self.slate_size).extras
        position, masses = columns["position"], extras["masses"]
        item = extras["item_values"].gather(1, position.clamp_min(0)[:, None])[:, 0]
        chosen_value = torch.where(position < 0, extras["no_click_value"], item)
        keep = torch.ones_like(chosen_value)
        if self.options.trace == "retrace":
            model = self.options.choice_model
            no_click = self.online.no_click_mass
            ours = choice_probability(model, masses, no_click, extras["best"], position)
            logged = choice_probability(model, masses, no_click, columns["slate"], position)
            keep = (ours / logged.clamp_min(_TINY)).clamp_max(1.0)
        return Valued(extras["value"], chosen_value, keep)

    def predict(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Q(s, chosen), the gap of clicked rows, and the choice's cross-entropy if learned."""
        network, options = self.online.network, self.options
        user, history, candidates, position = acted(
            columns, "user", "history", "candidates", "position"
        )
        code = network.encode(user, history)
        no_click, clicked = network.no_click_value(code), position >= 0
        at = position.clamp_min(0)
        if options.penalty:
            values = network.item_values(code, candidates)
            item = values.gather(1, at[:, None])[:, 0]
        else:
            item = network.item_values(code, _at(candidates, at[:, None]))[:, 0]
        predicted = {"chosen_value": torch.where(clicked, item, no_click)}
        if options.penalty:
            (mask,) = acted(columns, "mask")
            with torch.no_grad():
                masses = self.online.masses(code, user, candidates)[0].masked_fill(~mask, 0.0)
            # An item that was clicked attracts, whatever the model says.
            masses = torch.where(mask, masses.clamp_min(1e-6), 0.0)
            gap = conservative_gap(values / options.value_scale, masses, at)
            predicted["gap"] = gap.masked_fill(~clicked, 0.0)
        if network.learned_choice:
            predicted["further"] = self._choice_loss(code, candidates, columns)
        return predicted

    def _choice_loss(self, code: Tensor, candidates: Tensor, columns: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy of the learned logit against the slots chosen."""
        slate, position, learned = acted(columns, "slate", "position", "learned")
        there = slate >= 0
        clicked = ((slate == position[:, None]) & there).to(torch.uint8)
        slot = torch.where(position < 0, slate.shape[1], clicked.argmax(1))
        shown = _at(candidates, slate.clamp_min(0))
        logits = self.online.network.choice_logits(code, shown).masked_fill(~there, -1e9)
        each = functional.cross_entropy(functional.pad(logits, (0, 1)), slot, reduction="none")
        return each.masked_fill(~learned, 0.0).mean()


def _at(candidates: Tensor, positions: Tensor) -> Tensor:
    """Candidates (B, N, D) at positions (B, K): (B, K, D)."""
    index = positions[:, :, None].expand(-1, -1, candidates.shape[2])
    return candidates.gather(1, index)
