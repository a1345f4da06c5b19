"""RecSim's interest evolution as pure functions on tensors."""

from __future__ import annotations

import math
from enum import IntEnum, auto
from typing import ClassVar

import torch
from torch import Tensor

from envs.choice import ChoiceModel, choose
from envs.constants import Constant
from envs.history import Term
from envs.noise import Draws
from envs.spec import FeatureSpec, category, number, vector
from envs.world import Insight, Outcome, State, World, check_sizes


class Purpose(IntEnum):
    """What a draw decides."""

    INTERESTS = auto()
    TOPIC = auto()
    QUALITY = auto()
    CHOICE = auto()
    DIRECTION = auto()


class InterestEvolution(World):
    """Users with interests in topics and a budget of time.

    ## Description
    A user clicks on one document of the slate or on none. A click moves the
    interest in its topic and costs watch time; good documents give part of
    that time back, so sessions lengthen by watching good documents, while the
    most attractive ones need not be good.

    ## Actions
    `MultiDiscrete([num_candidates] * slate_size)`: distinct positions in the
    candidate list, in slate order.

    ## Observations
    `user`: interest in each topic, in [-1, 1]. `candidates`: topic, one-hot.
    `response` to the previous slate, a row a document: click, topic, liked
    (always 0), quality (shown for every document, clicked or not), watch time
    in minutes. `has_response`, `mask` and `history` as everywhere. Hidden:
    the remaining time budget, and a document's quality before it was shown.

    ## Rewards
    Minutes watched.

    ## Start
    Interests uniform on [-1, 1], 200 minutes of budget, candidates drawn anew
    at every step: the topic uniform, the quality normal around the topic's
    mean with standard deviation 0.1.

    ## End
    When the budget is used up (terminated).

    ## Arguments
    `num_candidates`, `slate_size`, `num_topics`, `choice_model` (any of
    RecSim's four; multinomial proportional in Google's environment) with
    `no_click_mass`, `min_normalizer`, `attention_prob` and `score_scaling`,
    `time_budget` in minutes, `show_quality` (False hides the quality of shown
    documents from the responses), `full_information` (True observes what is
    hidden: `budget` in minutes and the `quality` of every candidate; for
    references that no learner on the real world can pass).

    ## Version
    v1: the dynamics of recsim 0.2.4.

    Source: Ie et al. (2019), arXiv:1905.12767, section 6.1, and RecSim's
    `interest_evolution.py`. Deviation: Google's topic means fail for 7, 15 and
    33 topics (its two ranges do not add up); here any number works.
    """

    reward_name: ClassVar[str] = "clicked_watchtime_reward"
    default_history: ClassVar[tuple[Term, ...]] = (
        Term("no_click", "sum", 0.05),
        Term("click", "sum", 0.02),
        Term("watch_time", "sum", 0.005),
        Term("watch_time*quality", "sum", 0.005),
        Term("item", "sum", 0.2),
    )
    video_minutes: ClassVar[float] = 4.0
    quality_stddev: ClassVar[float] = 0.1
    step_penalty: ClassVar[float] = 0.5
    # Watching returns this fraction of the watch time, times the quality.
    extension: ClassVar[float] = 0.9 / 3.4

    def __init__(
        self,
        num_candidates: int = 10,
        slate_size: int = 3,
        num_topics: int = 20,
        choice_model: str = "multinomial_proportional",
        no_click_mass: float = 1.0,
        min_normalizer: float = -1.0,
        attention_prob: float = 0.65,
        score_scaling: float = 0.05,
        time_budget: float = 200.0,
        show_quality: bool = True,
        full_information: bool = False,
    ) -> None:
        """Parameters of the world; see the class."""
        check_sizes(num_candidates, slate_size)
        if num_topics < 2 or time_budget <= 0:
            raise ValueError(
                f"num_topics is {num_topics} and time_budget {time_budget}; "
                "there must be at least 2 topics and a positive budget"
            )
        self.num_candidates, self.slate_size = num_candidates, slate_size
        self.num_topics, self.time_budget = num_topics, time_budget
        self.choice = ChoiceModel(
            choice_model, no_click_mass, min_normalizer, attention_prob, score_scaling
        )
        self.show_quality, self.full_information = show_quality, full_information
        response = [number("click", 0, 1), category("cluster_id", num_topics)]
        response.append(number("liked", 0, 1))
        if show_quality:
            response.append(number("quality", -100, 100))
        response.append(number("watch_time", 0, 100))
        user = [vector("interests", num_topics, -1, 1)]
        candidate = [vector("features", num_topics, -1, 1)]
        if full_information:
            user.append(number("budget", -math.inf, time_budget))
            candidate.append(number("quality", -100, 100))
        self.spec = FeatureSpec(
            user=tuple(user),
            candidate=tuple(candidate),
            response=tuple(response),
            appeal=("interests", "features"),
        )
        if not show_quality:
            self.default_history = tuple(  # type: ignore[misc]
                term for term in self.default_history if "quality" not in term.what
            )
        self._one_hot = Constant(torch.eye(num_topics))
        self._topic_quality = Constant(topic_quality(num_topics))
        # A row of the response to each topic, all but the topic still zero.
        shown = torch.zeros(num_topics, self.spec.response_size)
        columns = self.spec.response_slice("cluster_id")
        shown[:, columns] = torch.arange(2)[:, None] if num_topics == 2 else torch.eye(num_topics)
        self._shown = Constant(shown)

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Interests (B, topics) and budget (B,) in minutes."""
        interests = draws.uniform(Purpose.INTERESTS, self.num_topics) * 2 - 1
        budget = torch.full((len(interests),), self.time_budget, dtype=dtype, device=device)
        return {"interests": interests, "budget": budget}

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Topics (B, N) int64; the quality is drawn when a document is shown or observed."""
        topic = (draws.uniform(Purpose.TOPIC, self.num_candidates) * self.num_topics).long()
        if not self.full_information:
            return {"topic": topic}
        noise = draws.normal(Purpose.QUALITY, self.num_candidates)
        return {"topic": topic, "quality": self._quality(topic, noise)}

    def _quality(self, topic: Tensor, noise: Tensor) -> Tensor:
        """Quality of documents of some topics, with standard normal noise, in the topics' shape."""
        mean = self._topic_quality.like(noise).index_select(0, topic.reshape(-1))
        return torch.add(mean.view_as(topic), noise, alpha=self.quality_stddev)

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Interests, and topics as one-hot vectors; budget and quality with full information."""
        interests, topic = state["interests"], state["topic"]
        one_hot = self._one_hot.like(interests).index_select(0, topic.view(-1))
        candidates = one_hot.view(*topic.shape, self.num_topics)
        if not self.full_information:
            return interests, candidates
        user = torch.cat([interests, state["budget"][:, None]], dim=1)
        return user, torch.cat([candidates, state["quality"][..., None]], dim=2)

    def insight(self, state: State) -> Insight:
        """Interest attracts, quality pays later, and the budget says how long there is."""
        topic = state["topic"]
        quality = self._topic_quality.like(state["interests"])
        return Insight(
            users={"time left, minutes": state["budget"]},
            items={
                "interest in the topic": state["interests"].gather(1, topic),
                "mean quality of the topic": quality[topic],
            },
            tension=("interest in the topic", "mean quality of the topic"),
            topic=topic,
            topic_names=tuple(f"quality {mean:+.1f}" for mean in quality.tolist()),
        )

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """Choice, watch time, interests, budget, end: RecSim's order."""
        interests, budget = state["interests"], state["budget"]
        # Numbers lie slot by slot, (K, B), which torch goes through fastest.
        shown = state["topic"].gather(1, slate)
        topic = shown.t().contiguous()
        if self.full_information:
            quality = state["quality"].gather(1, slate).t()
        else:
            quality = self._quality(topic, draws.normal(Purpose.QUALITY, slate).t())
        affinity = interests.t().gather(0, topic)
        chosen = choose(self.choice.probabilities(affinity.t()), _one(draws, Purpose.CHOICE))
        clicked = chosen < len(topic)

        slot = chosen.clamp(max=len(topic) - 1)[None]
        watched_topic = topic.gather(0, slot)[0]
        x = affinity.gather(0, slot)[0]
        # A click moves the interest towards the topic more often than away from it.
        size = (0.3 - 0.3 * x.abs()) * (1 - x) * clicked
        away = _one(draws, Purpose.DIRECTION) >= (x + 1) / 2
        moved = torch.where(away, x - size, x + size).clamp(-1, 1)

        minutes = budget.clamp(max=self.video_minutes)
        watch_time = minutes * clicked
        cost = minutes * (1 - self.extension * quality.gather(0, slot)[0])
        budget = budget - torch.where(clicked, cost, self.step_penalty)
        state = {
            "interests": interests.scatter(1, watched_topic[:, None], moved[:, None]),
            "budget": budget,
        }
        response = self._respond(shown, quality, chosen, watch_time)
        return Outcome(state, response, watch_time, budget <= 0)

    def _respond(
        self, shown: Tensor, quality: Tensor, chosen: Tensor, watch_time: Tensor
    ) -> Tensor:
        """The response (B, K, R) to topics (B, K) with qualities (K, B)."""
        rows = self._shown.like(quality).index_select(0, shown.view(-1))
        response = rows.view(*shown.shape, -1)
        click = chosen == torch.arange(len(quality), device=chosen.device)[:, None]
        response[..., 0] = click.t()
        if self.show_quality:
            response[..., -2] = quality.t()
        response[..., -1] = (click * watch_time).t()
        return response


def _one(draws: Draws, purpose: Purpose) -> Tensor:
    """One uniform number a user, (B,)."""
    return draws.uniform(purpose, 1).squeeze(1)


def topic_quality(num_topics: int) -> Tensor:
    """Mean quality of each topic, (topics,): most from -3 to 0, the rest from 0 to 3.

    Source: `UtilityModelVideoSampler` in RecSim, which takes 70 and 30 % of the
    topics rounded down. Deviation: where that loses a topic, the good side gets it.
    """
    bad = int(num_topics * 0.7)
    good = num_topics - bad
    return torch.cat(
        [
            torch.linspace(-3, 0, bad, dtype=torch.float64),
            torch.linspace(0, 3, good, dtype=torch.float64),
        ]
    )
