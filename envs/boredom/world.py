"""Users who tire of what they are shown too often, as pure functions on tensors."""

from __future__ import annotations

import math
from enum import IntEnum, auto
from typing import ClassVar, Literal

import torch
from torch import Tensor

from envs.choice import ChoiceModel, choose
from envs.constants import Constant
from envs.history import Term
from envs.noise import Draws
from envs.spec import FeatureSpec, number, one_hot, vector
from envs.world import Insight, Outcome, State, World, check_sizes


class Purpose(IntEnum):
    """What a draw decides."""

    AGE_GROUP = auto()
    TASTE = auto()
    GENRE = auto()
    QUALITY = auto()
    CHOICE = auto()
    LEAVING = auto()


class Boredom(World):
    """Users who tire of a genre that they click on, and recover when they rest from it.

    ## Description
    A user of age group a has a taste for each of G genres and a hidden level of
    boredom with each, a whole number from 0 to L. With b_g = level_g / L, a
    document of genre g and quality q attracts by

        score = taste_g + q - aversion * b_g,

    and a choice model turns the scores of the slate into a click on one
    document or on none; for one document and the multinomial logit,

        P(click) = 1 / (1 + exp(no_click_mass - score)).

    A click on a document of genre g raises that level by `boredom_rise`, to at
    most L; the level of every other genre, or of all without a click, falls by
    1, to at least 0. After the slate g_1, ..., g_K the user leaves with
    probability

        P(leave) = impatience * mean_k b_{g_k}

    with the levels before the click, clicked or not. Whoever shows what
    attracts most keeps the favourite genre boring and loses users early; a
    good recommender lets it rest.

    ## Actions
    `MultiDiscrete([num_candidates] * slate_size)`: distinct positions in the
    candidate list, in slate order.

    ## Observations
    `user`: age group, one-hot, and taste for each genre, in [-3, 3].
    `candidates`: genre, one-hot, and quality in [-1, 1] where documents are
    drawn. `response` to the previous slate: click. `has_response`, `mask` and
    `history` as everywhere. Hidden: the levels of boredom; they start at 0 and
    follow from the clicks, which the history keeps as traces.

    ## Rewards
    1 for a click.

    ## Start
    The age group a of A is uniform; taste_g = 1.5 cos(2 pi (g / G - a / A)) +
    `taste_stddev` * N(0, 1), clipped to [-3, 3]; nobody is bored. With the
    catalogue `drawn`, genres and qualities (in [-1, 1]) of the candidates are
    drawn uniformly anew at every step; with `genres`, candidate g is the genre
    g, of quality 0, always.

    ## End
    When the user leaves, or after `time_budget` steps (both terminated).

    ## Arguments
    `num_candidates` (10, or the number of genres with the catalogue `genres`),
    `slate_size`, `num_genres`, `age_groups`, `catalogue`, `taste_stddev`,
    `boredom_levels` (L), `boredom_rise`, `aversion`, `impatience`,
    `time_budget` in steps, `choice_model` (any of RecSim's four) with
    `no_click_mass`, `min_normalizer`, `attention_prob` and `score_scaling`.
    Small enough for dynamic programming (`envs.boredom.optimal`) with the
    catalogue `genres`, a slate of 1 and `taste_stddev` 0.

    ## Version
    v1.

    Source: our own; the idea of arms that recover is from Pike-Burke and
    Grünewälder (2019), "Recovering bandits".
    """

    reward_name: ClassVar[str] = "clicks"
    taste_spread: ClassVar[float] = 1.5
    taste_limit: ClassVar[float] = 3.0

    def __init__(
        self,
        num_candidates: int | None = None,
        slate_size: int = 3,
        num_genres: int = 4,
        age_groups: int = 3,
        catalogue: Literal["drawn", "genres"] = "drawn",
        taste_stddev: float = 0.5,
        boredom_levels: int = 4,
        boredom_rise: int = 3,
        aversion: float = 4.0,
        impatience: float = 0.3,
        time_budget: int = 20,
        choice_model: str = "multinomial_logit",
        no_click_mass: float = -0.5,
        min_normalizer: float = -8.0,
        attention_prob: float = 0.65,
        score_scaling: float = 0.01,
    ) -> None:
        """Parameters of the world; see the class."""
        self.num_candidates = _num_candidates(num_candidates, catalogue, num_genres)
        check_sizes(self.num_candidates, slate_size)
        _check_counts(
            num_genres=(num_genres, 2),
            age_groups=(age_groups, 1),
            boredom_levels=(boredom_levels, 1),
            boredom_rise=(boredom_rise, 1),
            time_budget=(time_budget, 1),
        )
        if not (0 <= impatience <= 1 and 0 <= taste_stddev < math.inf and 0 <= aversion < math.inf):
            raise ValueError(
                f"impatience is {impatience}, taste_stddev {taste_stddev} and aversion "
                f"{aversion}; impatience lies in [0, 1] and the others are finite and not negative"
            )
        self.slate_size, self.num_genres, self.age_groups = slate_size, num_genres, age_groups
        self.catalogue, self.taste_stddev = catalogue, taste_stddev
        self.boredom_levels, self.boredom_rise = boredom_levels, boredom_rise
        self.aversion, self.impatience, self.time_budget = aversion, impatience, time_budget
        self.choice = ChoiceModel(
            choice_model, no_click_mass, min_normalizer, attention_prob, score_scaling
        )
        limit = self.taste_limit
        quality = (number("quality", -1, 1),) if catalogue == "drawn" else ()
        self.spec = FeatureSpec(
            user=(one_hot("age_group", age_groups), vector("tastes", num_genres, -limit, limit)),
            candidate=(one_hot("genre", num_genres), *quality),
            response=(number("click", 0, 1),),
            appeal=("tastes", "genre"),
        )
        self.default_history = (  # type: ignore[misc]
            Term("time", "sum", 1 / time_budget),
            Term("genre", "last"),
            Term("genre", 0.5),
            Term("genre", 0.8, 0.5),
        )
        self._ages = Constant(torch.eye(age_groups))
        self._genres = Constant(torch.eye(num_genres))
        self.mean_tastes = Constant(mean_tastes(age_groups, num_genres, self.taste_spread))

    def new_users(self, draws: Draws, dtype: torch.dtype, device: torch.device) -> State:
        """Age groups (B,) int64, tastes (B, G), boredom levels (B, G), steps taken (B,)."""
        age = (draws.uniform(Purpose.AGE_GROUP, 1)[:, 0] * self.age_groups).long()
        luck = draws.normal(Purpose.TASTE, self.num_genres)
        tastes = self.mean_tastes.like(luck)[age] + self.taste_stddev * luck
        return {
            "age_group": age,
            "tastes": tastes.clamp(-self.taste_limit, self.taste_limit),
            "levels": torch.zeros_like(tastes),
            "step": torch.zeros_like(age),
        }

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Genres (B, N) int64 and qualities (B, N)."""
        if self.catalogue == "genres":
            genre = torch.arange(self.num_genres, device=state["tastes"].device)
            genre = genre.repeat(len(state["tastes"]), 1)
            return {"genre": genre, "quality": torch.zeros_like(state["tastes"])}
        genre = draws.uniform(Purpose.GENRE, self.num_candidates) * self.num_genres
        quality = 2 * draws.uniform(Purpose.QUALITY, self.num_candidates) - 1
        return {"genre": genre.long(), "quality": quality}

    def observe(self, state: State) -> tuple[Tensor, Tensor]:
        """Age group and tastes; genres and, where drawn, qualities."""
        tastes = state["tastes"]
        user = torch.cat([self._ages.like(tastes)[state["age_group"]], tastes], dim=1)
        genre = self._genres.like(tastes)[state["genre"]]
        if self.catalogue == "genres":
            return user, genre
        return user, torch.cat([genre, state["quality"][..., None]], dim=2)

    def insight(self, state: State) -> Insight:
        """Taste and quality attract; boredom with a genre undoes that and drives users away."""
        genre, boredom = state["genre"], state["levels"] / self.boredom_levels
        return Insight(
            users={"mean boredom": boredom.mean(dim=1)},
            items={
                "taste + quality": state["tastes"].gather(1, genre) + state["quality"],
                "boredom with the genre": boredom.gather(1, genre),
            },
            tension=("taste + quality", "boredom with the genre"),
            topic=genre,
            topic_kind="genre",
            topic_names=tuple(f"genre {number}" for number in range(self.num_genres)),
        )

    def transition(self, state: State, slate: Tensor, draws: Draws) -> Outcome:
        """Choice and leaving by the levels before, then the levels and time."""
        levels = state["levels"]
        genre = state["genre"].gather(1, slate)
        boredom = (levels / self.boredom_levels).gather(1, genre)
        scores = self.scores(state["tastes"].gather(1, genre), boredom)
        scores = scores + state["quality"].gather(1, slate)
        chosen = choose(
            self.choice.probabilities(scores), draws.uniform(Purpose.CHOICE, 1).squeeze(1)
        )
        leaves = draws.uniform(Purpose.LEAVING, 1).squeeze(1) < self.leaving(boredom)

        click = (chosen[:, None] == torch.arange(slate.shape[1], device=slate.device)).to(levels)
        clicked = torch.zeros_like(levels).scatter_add(1, genre, click)
        step = state["step"] + 1
        after = {
            "age_group": state["age_group"],
            "tastes": state["tastes"],
            "levels": self.next_levels(levels, clicked),
            "step": step,
        }
        terminated = leaves | (step >= self.time_budget)
        return Outcome(after, click[..., None], click.sum(1), terminated)

    def scores(self, tastes: Tensor, boredom: Tensor) -> Tensor:
        """Attraction of documents of quality 0: taste - aversion * b, elementwise."""
        return tastes - self.aversion * boredom

    def leaving(self, boredom: Tensor) -> Tensor:
        """Probability of leaving, (B,), when shown genres with boredom b, (B, K)."""
        return self.impatience * boredom.mean(dim=1)

    def next_levels(self, levels: Tensor, clicked: Tensor) -> Tensor:
        """Levels of boredom, (B, G), after a click where `clicked` (B, G) is 1."""
        risen = (levels + self.boredom_rise).clamp(max=self.boredom_levels)
        return torch.where(clicked > 0, risen, (levels - 1).clamp(min=0))


def mean_tastes(age_groups: int, genres: int, spread: float) -> Tensor:
    """Mean taste of each age group a for each genre g, (A, G).

    spread * cos(2 pi (g / G - a / A)): age groups differ in their favourite genre.
    """
    age = torch.arange(age_groups, dtype=torch.float64)[:, None] / age_groups
    genre = torch.arange(genres, dtype=torch.float64) / genres
    return spread * torch.cos(2 * math.pi * (genre - age))


def _num_candidates(given: int | None, catalogue: str, num_genres: int) -> int:
    if catalogue not in ("drawn", "genres"):
        raise ValueError(f"catalogue is '{catalogue}'; allowed are 'drawn' and 'genres'")
    if catalogue == "drawn":
        return 10 if given is None else given
    if given not in (None, num_genres):
        raise ValueError(
            f"num_candidates is {given}, but the catalogue 'genres' offers each of the "
            f"{num_genres} genres once; leave num_candidates out or set catalogue to 'drawn'"
        )
    return num_genres


def _check_counts(**counts: tuple[int, int]) -> None:
    for name, (value, least) in counts.items():
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
