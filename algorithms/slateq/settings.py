"""SlateQ's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from algorithms.core.optimise import check_method
from algorithms.core.settings import Settings

ChoiceName = Literal[
    "multinomial_logit",
    "multinomial_proportional",
    "exponential_cascade",
    "proportional_cascade",
]


class SlateQSettings(Settings):
    """What is SlateQ's own; the paper's variants are settings.

    The loss is the squared error of Q(s, chosen) to a target, where `chosen`
    is the clicked item or no click, both in units of `value_scale`:
    mean(((Q(s, chosen) - G) / value_scale)^2).

    Attributes:
        target: `q_learning` bootstraps from the best slate of the next
            observation, `sarsa` from the slate that was shown there.
        learning: `fresh` learns once from each fragment, with lambda-returns
            of the collecting network; `replay` from a buffer, with one-step
            targets of a target network.
        lambda_: of the lambda-returns (`fresh`).
        trace: what is done about exploratory slates inside a trace (`fresh`):
            `harutyunyan` corrects by the value of what was chosen, `peng`
            leaves them in, `watkins` cuts there; `sarsa` goes with its target.
        act_optimiser: finds the slate to show: `exact`, `greedy` or `top_k`.
        target_optimiser: finds the slate to bootstrap from.
        no_click_value: `learned`, or `zero` as in the paper.
        choice_model: what the agent assumes of the user's choice.
        choice_scores: where the assumed model's scores come from: `appeal`,
            the world's declared dot product, or `learned` from the choices seen.
        choice_no_click_mass: score of no click, for multinomial models.
        choice_min_normalizer: subtracted from scores, for proportional models.
        choice_attention_prob: probability of looking on, for cascades.
        choice_score_scaling: factor from score to probability, for cascades.
        hidden: widths of the layers over user and history.
        item_hidden: widths of the layers over a candidate; none takes it as it is.
        layer_norm: normalise each layer over user and history.
        value_scale: unit of the network's outputs, in the reward's unit.
        initial_value: of every state before training, in the reward's unit.
        replay_capacity: steps kept (`replay`).
        replay_ratio: rows learned from for each step sampled (`replay`).
        learning_starts: steps sampled before learning begins (`replay`).
        target_update_steps: steps sampled between copies to the target network (`replay`).
    """

    target: Literal["q_learning", "sarsa"] = "q_learning"
    learning: Literal["fresh", "replay"] = "fresh"
    lambda_: float = Field(0.9, ge=0, le=1)
    trace: Literal["harutyunyan", "peng", "watkins", "sarsa"] = "harutyunyan"
    act_optimiser: Literal["exact", "greedy", "top_k"] = "exact"
    target_optimiser: Literal["exact", "greedy", "top_k"] = "exact"
    no_click_value: Literal["learned", "zero"] = "learned"
    choice_model: ChoiceName = "multinomial_proportional"
    choice_scores: Literal["appeal", "learned"] = "appeal"
    choice_no_click_mass: float = 1.0
    choice_min_normalizer: float = -1.0
    choice_attention_prob: float = Field(0.65, ge=0, le=1)
    choice_score_scaling: float = Field(0.05, ge=0)
    hidden: tuple[int, ...] = (128, 128)
    item_hidden: tuple[int, ...] = ()
    layer_norm: bool = True
    value_scale: float = Field(50.0, gt=0)
    initial_value: float = 160.0
    replay_capacity: int = Field(100_000, ge=1)
    replay_ratio: float = Field(4.0, gt=0)
    learning_starts: int = Field(10_000, ge=0)
    target_update_steps: int = Field(10_000, ge=1)

    @model_validator(mode="after")
    def _fit_together(self) -> SlateQSettings:
        check_method(self.act_optimiser, self.choice_model)
        check_method(self.target_optimiser, self.choice_model)
        if self.choice_scores == "learned" and self.choice_model != "multinomial_logit":
            raise ValueError(
                f"choice_scores 'learned' learns a multinomial logit, not {self.choice_model}; "
                "set choice_model to 'multinomial_logit'"
            )
        if (self.trace == "sarsa") != (self.target == "sarsa") and self.learning == "fresh":
            raise ValueError(
                f"the target '{self.target}' does not go with the trace '{self.trace}'; "
                "'sarsa' is both or neither"
            )
        return self
