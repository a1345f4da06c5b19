"""RecSim's interest evolution as pure functions on tensors."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import ClassVar

import torch
from torch import Tensor

from envs.choice import ChoiceModel, choose
from envs.history import Term
from envs.noise import Draws
from envs.simulator import Outcome, State, World, check_sizes
from envs.spec import FeatureSpec, category, number, vector


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
    RecSim's four; multinomial proportional in Google's environment),
    `no_click_mass`, `time_budget` in minutes, `show_quality` (False hides the
    quality of shown documents from the responses).

    ## Version
    v1: the dynamics of recsim 0.2.4.

    Source: Ie et al. (2019), arXiv:1905.12767, section 6.1, and RecSim's
    `interest_evolution.py`. Deviation: Google's topic means fail for 7, 15 and
    33 topics (its two ranges do not add up); here any number works.
    """

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
        time_budget: float = 200.0,
        show_quality: bool = True,
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
        self.choice = ChoiceModel(choice_model, no_click_mass=no_click_mass)
        self.show_quality = show_quality
        self.topic_quality = topic_quality(num_topics)
        response = [number("click", 0, 1), category("cluster_id", num_topics)]
        response.append(number("liked", 0, 1))
        if show_quality:
            response.append(number("quality", -100, 100))
        response.append(number("watch_time", 0, 100))
        self.spec = FeatureSpec(
            user=(vector("interests", num_topics, -1, 1),),
            candidate=(vector("features", num_topics, -1, 1),),
            response=tuple(response),
            appeal=("interests", "features"),
        )
        if not show_quality:
            self.default_history = tuple(  # type: ignore[misc]
                term for term in self.default_history if "quality" not in term.what
            )

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Interests (B, topics) and budget (B,) in minutes."""
        interests = draws.uniform(Purpose.INTERESTS, self.num_topics) * 2 - 1
        budget = torch.full((len(interests),), self.time_budget, dtype=dtype, device=device)
        self._to(interests)
        return {"interests": interests, "budget": budget}

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Topics (B, N) int64; the quality is drawn when a document is shown."""
        topic = draws.uniform(Purpose.TOPIC, self.num_candidates) * self.num_topics
        return {"topic": topic.long()}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Interests, and topics as one-hot vectors."""
        return state["interests"], self._one_hot[state["topic"]]

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """Choice, watch time, interests, budget, end: RecSim's order."""
        interests, budget = state["interests"], state["budget"]
        self._to(interests)
        topic = state["topic"].gather(1, slate)
        quality = self.topic_quality[topic] + self.quality_stddev * draws.normal(
            Purpose.QUALITY, slate
        )
        probabilities = self.choice.probabilities(interests.gather(1, topic))
        chosen = choose(probabilities, draws.uniform(Purpose.CHOICE, 1)[:, 0])
        slots = torch.arange(slate.shape[1], device=slate.device)
        click = (slots == chosen[:, None]).to(interests)
        clicked = click.sum(dim=1)

        watch_time = clicked * budget.clamp(max=self.video_minutes)
        slot = chosen.clamp(max=slate.shape[1] - 1)[:, None]
        watched_topic = topic.gather(1, slot)
        watched_quality = quality.gather(1, slot)[:, 0]

        x = interests.gather(1, watched_topic)[:, 0]
        size = (0.3 - 0.3 * x.abs()) * (1 - x)
        towards = draws.uniform(Purpose.DIRECTION, 1)[:, 0] < (x + 1) / 2
        moved = (x + torch.where(towards, size, -size)).clamp(-1, 1)
        moved = torch.where(clicked > 0, moved, x)
        interests = interests.scatter(1, watched_topic, moved[:, None])

        budget = (
            budget
            - watch_time
            + self.extension * watch_time * watched_quality
            - (1 - clicked) * self.step_penalty
        )
        columns = [click[..., None], self._category[topic], torch.zeros_like(click)[..., None]]
        if self.show_quality:
            columns.append(quality[..., None])
        columns.append((click * watch_time[:, None])[..., None])
        response = torch.cat(columns, dim=2)
        return Outcome(
            {"interests": interests, "budget": budget}, response, watch_time, budget <= 0
        )

    def _to(self, like: Tensor) -> None:
        """Keep the constant tables in the state's dtype and on its device."""
        table = getattr(self, "_one_hot", None)
        if table is None or table.dtype != like.dtype or table.device != like.device:
            self.topic_quality = topic_quality(self.num_topics).to(like)
            self._one_hot = torch.eye(self.num_topics, dtype=like.dtype, device=like.device)
            two = torch.arange(2, dtype=like.dtype, device=like.device)[:, None]
            self._category = two if self.num_topics == 2 else self._one_hot


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
