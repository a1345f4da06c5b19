"""RecSim's interest exploration as pure functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import ClassVar

import torch
from torch import Tensor

from envs.choice import ChoiceModel, choose
from envs.constants import Constant, Row
from envs.history import Term
from envs.noise import Draws
from envs.simulator import Outcome, State, World, check_sizes
from envs.spec import FeatureSpec, category, number
from envs.world import Insight


class Purpose(IntEnum):
    """What a draw decides."""

    USER_TYPE = auto()
    AFFINITY = auto()
    TOPIC = auto()
    QUALITY = auto()
    CHOICE = auto()


class InterestExploration(World):
    """Users of several types, whose fixed interests show only in their clicks.

    ## Description
    A document's appeal is its quality plus the user's affinity to its topic. A
    topic of high quality gets clicks from everyone, so a myopic recommender
    never finds out who would prefer the other one.

    ## Actions
    `MultiDiscrete([num_candidates] * slate_size)`: distinct positions in the
    candidate list, in slate order.

    ## Observations
    `user`: `anonymous`, always 1, for nothing of a user is observed.
    `candidates`: topic (a 0/1 number where there are two, one-hot where more)
    and quality. `response` to the previous slate, a row a document: click,
    topic, quality. `has_response`, `mask` and `history` as everywhere. Hidden:
    the user's type and affinities.

    ## Rewards
    1 for a click.

    ## Start
    A type by `user_type_distribution`; affinities log-normal with the type's
    means and deviations. Candidates are drawn anew at every step: the topic by
    `topic_distribution`, the quality log-normal with the topic's mean and
    deviation.

    ## End
    Users never leave; `time_limit` steps truncate the session.

    ## Arguments
    `num_candidates`, `slate_size`, `choice_model` (any of RecSim's four;
    multinomial logit in Google's environment) with `no_click_mass`,
    `min_normalizer`, `attention_prob` and `score_scaling`, `time_limit` in
    steps or `None`, and the distributions of users and documents, named as in
    RecSim, the means and deviations those of the logarithm.

    ## Version
    v1: the dynamics of recsim 0.2.4.

    Source: RecSim's `interest_exploration.py`. Deviations: Google's sessions
    never end; the choice models besides multinomial logit fail there, because
    only the no-click mass reaches them.
    """

    reward_name: ClassVar[str] = "total_clicks_reward"
    default_history: ClassVar[tuple[Term, ...]] = (
        Term("no_click", "sum", 0.02),
        Term("click", "sum", 0.02),
        Term("cluster_id", "sum", 0.02),
        Term("quality", "sum", 0.01),
    )

    def __init__(
        self,
        num_candidates: int = 10,
        slate_size: int = 3,
        choice_model: str = "multinomial_logit",
        no_click_mass: float = 5.0,
        min_normalizer: float = -1.0,
        attention_prob: float = 0.65,
        score_scaling: float = 0.001,
        time_limit: int | None = 100,
        user_type_distribution: Row = (0.3, 0.7),
        user_document_mean_affinity_matrix: Sequence[Row] = ((0.1, 0.7), (0.7, 0.1)),
        user_document_stddev_affinity_matrix: Sequence[Row] = ((0.1, 0.1), (0.1, 0.1)),
        topic_distribution: Row = (0.2, 0.8),
        topic_quality_mean: Row = (0.8, 0.2),
        topic_quality_stddev: Row = (0.1, 0.1),
    ) -> None:
        """Parameters of the world; see the class."""
        check_sizes(num_candidates, slate_size)
        if time_limit is not None and time_limit < 1:
            raise ValueError(f"time_limit is {time_limit}; it must be at least 1 step, or null")
        self.num_candidates, self.slate_size = num_candidates, slate_size
        self.time_limit = time_limit
        self.choice = ChoiceModel(
            choice_model, no_click_mass, min_normalizer, attention_prob, score_scaling
        )
        types, topics = len(user_type_distribution), len(topic_distribution)
        self.num_topics = topics
        self._types = _cumulative("user_type_distribution", user_type_distribution)
        self._topics = _cumulative("topic_distribution", topic_distribution)
        self._affinity = _log_normal(
            "user_document_{}_affinity_matrix",
            user_document_mean_affinity_matrix,
            user_document_stddev_affinity_matrix,
            (types, topics),
        )
        self._quality = _log_normal(
            "topic_quality_{}", topic_quality_mean, topic_quality_stddev, (topics,)
        )
        self._category = Constant(torch.arange(2)[:, None] if topics == 2 else torch.eye(topics))
        self.spec = FeatureSpec(
            user=(number("anonymous", 0, 1),),
            candidate=(category("cluster_id", topics), number("quality", 0)),
            response=(number("click", 0, 1), category("cluster_id", topics), number("quality", 0)),
            appeal=(None, "quality"),
        )

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Affinities to topics (B, topics)."""
        noise = draws.normal(Purpose.AFFINITY, self.num_topics)
        drawn = draws.uniform(Purpose.USER_TYPE, 1)[:, 0]
        user_type = torch.bucketize(drawn, self._types.like(drawn), right=True)
        mean, stddev = (table.like(noise)[user_type] for table in self._affinity)
        return {"affinity": torch.exp(mean + stddev * noise)}

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Topics (B, N) int64 and qualities (B, N)."""
        drawn = draws.uniform(Purpose.TOPIC, self.num_candidates)
        topic = torch.bucketize(drawn, self._topics.like(drawn), right=True)
        mean, stddev = (table.like(drawn)[topic] for table in self._quality)
        noise = draws.normal(Purpose.QUALITY, self.num_candidates)
        return {"topic": topic, "quality": torch.exp(mean + stddev * noise)}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Ones, and topics with qualities."""
        quality = state["quality"]
        candidates = [self._category.like(quality)[state["topic"]], quality[..., None]]
        return torch.ones_like(quality[:, :1]), torch.cat(candidates, dim=2)

    def insight(self, state: State) -> Insight:
        """Quality attracts everyone; whom a topic suits shows in the affinity to it."""
        topic = state["topic"]
        return Insight(
            items={
                "quality": state["quality"],
                "affinity to the topic": state["affinity"].gather(1, topic),
            },
            tension=("quality", "affinity to the topic"),
            topic=topic,
            topic_names=tuple(f"topic {number}" for number in range(self.num_topics)),
        )

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """A choice; nothing of the user changes."""
        topic = state["topic"].gather(1, slate)
        quality = state["quality"].gather(1, slate)
        scores = state["affinity"].gather(1, topic) + quality
        chosen = choose(self.choice.probabilities(scores), draws.uniform(Purpose.CHOICE, 1)[:, 0])
        slots = torch.arange(slate.shape[1], device=slate.device)
        click = (slots == chosen[:, None]).to(quality)
        response = torch.cat(
            [click[..., None], self._category.like(quality)[topic], quality[..., None]], dim=2
        )
        stays = torch.zeros_like(chosen, dtype=torch.bool)
        return Outcome({"affinity": state["affinity"]}, response, click.sum(dim=1), stays)


def _cumulative(name: str, probabilities: Row) -> Constant:
    """The distribution function of a categorical distribution."""
    if not probabilities or min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
        raise ValueError(
            f"{name} is {list(probabilities)}; it must hold numbers from 0 to 1 that add up to 1"
        )
    cdf = torch.tensor(probabilities, dtype=torch.float64).cumsum(0)
    return Constant(cdf / cdf[-1])


def _log_normal(
    name: str, mean: Row | Sequence[Row], stddev: Row | Sequence[Row], shape: tuple[int, ...]
) -> tuple[Constant, Constant]:
    """Means and deviations of logarithms, checked."""
    tables = []
    for kind, values in (("mean", mean), ("stddev", stddev)):
        try:
            table = Constant(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name.format(kind)} must be a table of numbers: {error}") from None
        if table.exact.shape != shape:
            raise ValueError(
                f"{name.format(kind)} has shape {tuple(table.exact.shape)}, but the "
                f"distributions of types and topics ask for {shape}"
            )
        tables.append(table)
    if bool((tables[1].exact < 0).any()):
        raise ValueError(f"{name.format('stddev')} holds a negative number; deviations are >= 0")
    return tables[0], tables[1]
