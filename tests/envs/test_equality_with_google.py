"""The torch worlds against Google's code: the same users, candidates and luck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from torch import Tensor

from envs import make_simulator
from envs.choice import ChoiceModel
from envs.interest_evolution import world as evolution
from envs.interest_exploration import world as exploration
from envs.long_term_satisfaction import world as satisfaction
from envs.noise import Draws, Noise
from envs.recsim import make_google_simulator, streams
from envs.recsim.importing import load
from envs.registry import world_class
from envs.simulator import Observation, TorchSimulator, Transition

CHOICE_MODELS = [
    "multinomial_logit",
    "multinomial_proportional",
    "exponential_cascade",
    "proportional_cascade",
]
Entries = dict[IntEnum, Any]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small batches only lose time to more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Script(Noise):
    """Draws by (user, step, purpose), written down before they are asked for."""

    def __init__(self) -> None:
        self.written: dict[tuple[int, int, int], Any] = {}

    def write(self, user: int, step: int, entries: Entries) -> None:
        for purpose, values in entries.items():
            self.written[user, step, purpose] = np.atleast_1d(values)

    def at(self, users: Tensor, steps: Tensor) -> Draws:
        return Lines(self.written, list(zip(users.tolist(), steps.tolist(), strict=True)))


class Lines(Draws):
    def __init__(self, written: dict[tuple[int, int, int], Any], who: list[Any]) -> None:
        self.written, self.who = written, who

    def uniform(self, purpose: int, positions: int | Tensor) -> Tensor:
        rows = torch.tensor(
            np.stack([self.written[user, step, purpose] for user, step in self.who])
        )
        return rows[:, :positions] if isinstance(positions, int) else rows.gather(1, positions)

    normal = uniform


class Tape:
    """What Google's code draws for one user, in its order."""

    def __init__(self, number: int, seed: int, candidates: int) -> None:
        self.number, self.candidates, self.step = number, candidates, 0
        self.user, self.documents, self.luck = map(RandomState, streams(seed, number))

    def new_user(self) -> Entries:
        raise NotImplementedError

    def new_document(self) -> Entries:
        raise NotImplementedError

    def transition(self, clicked: bool) -> Entries:
        raise NotImplementedError

    def start(self, script: Script) -> None:
        # Google's environment draws one set of candidates when it is built.
        self.offer()
        script.write(self.number, 0, self.new_user() | self.offer())

    def advance(self, script: Script, clicked: bool) -> None:
        script.write(self.number, self.step, self.transition(clicked))
        self.step += 1
        script.write(self.number, self.step, self.offer())

    def offer(self) -> Entries:
        documents = [self.new_document() for _ in range(self.candidates)]
        return {purpose: [d[purpose] for d in documents] for purpose in documents[0]}


class EvolutionTape(Tape):
    def new_user(self) -> Entries:
        return {evolution.Purpose.INTERESTS: self.user.random_sample(20)}

    def new_document(self) -> Entries:
        topic = (self.documents.randint(0, 20) + 0.5) / 20
        quality = self.documents.standard_normal()
        return {evolution.Purpose.TOPIC: topic, evolution.Purpose.QUALITY: quality}

    def transition(self, clicked: bool) -> Entries:
        choice = self.luck.random_sample()
        direction = self.luck.random_sample() if clicked else np.nan
        return {evolution.Purpose.CHOICE: choice, evolution.Purpose.DIRECTION: direction}


class ExplorationTape(Tape):
    def new_user(self) -> Entries:
        user_type = self.user.random_sample()
        affinity = self.user.standard_normal(2)
        return {exploration.Purpose.USER_TYPE: user_type, exploration.Purpose.AFFINITY: affinity}

    def new_document(self) -> Entries:
        topic, quality = self.documents.random_sample(), self.documents.standard_normal()
        return {exploration.Purpose.TOPIC: topic, exploration.Purpose.QUALITY: quality}

    def transition(self, clicked: bool) -> Entries:
        return {exploration.Purpose.CHOICE: self.luck.random_sample()}


class SatisfactionTape(Tape):
    def new_user(self) -> Entries:
        return {satisfaction.Purpose.EXPOSURE: self.user.random_sample()}

    def new_document(self) -> Entries:
        return {satisfaction.Purpose.CLICKBAIT: self.documents.random_sample()}

    def transition(self, clicked: bool) -> Entries:
        engagement, innovation = self.luck.standard_normal(2)
        purpose = satisfaction.Purpose
        return {purpose.ENGAGEMENT: engagement, purpose.INNOVATION: innovation}


def assert_close(ours: Transition, googles: Transition) -> None:
    for name in ("terminated", "truncated", "finished"):
        assert torch.equal(getattr(ours, name), getattr(googles, name)), name
    for name in ("reward", "response"):
        torch.testing.assert_close(
            getattr(ours, name), getattr(googles, name), rtol=1e-9, atol=1e-9
        )
    assert_same_view(ours.observation, googles.observation)
    assert_same_view(ours.final, googles.final)


def assert_same_view(ours: Observation, googles: Observation) -> None:
    for name in Observation._fields:
        torch.testing.assert_close(
            getattr(ours, name), getattr(googles, name), rtol=1e-9, atol=1e-9, msg=name
        )


def play_both(
    name: str, tape: Callable[[int, int, int], Tape], steps: int, seed: int = 3, **arguments: Any
) -> tuple[int, int]:
    """Step both side by side; gives how many sessions ended and how many clicks there were."""
    users, script = 4, Script()
    google = make_google_simulator(name, users, seed=seed, dtype=torch.float64, **arguments)
    world = world_class(name)(**arguments)
    ours = TorchSimulator(world, users, dtype=torch.float64, source=script)
    tapes = [tape(number, seed, google.num_candidates) for number in range(users)]
    for each in tapes:
        each.start(script)
    assert_same_view(ours.reset(), google.reset())
    chooser, next_user, ended, clicks = torch.Generator().manual_seed(1), users, 0, 0
    for _ in range(steps):
        order = torch.rand(users, google.num_candidates, generator=chooser).argsort(dim=1)
        slates = order[:, : google.slate_size].contiguous()
        expected = google.step(slates)
        clicked = expected.response[..., 0].sum(dim=1) > 0
        for row, each in enumerate(tapes):
            each.advance(script, bool(clicked[row]))
        for row in expected.finished.tolist():
            tapes[row] = tape(next_user, seed, google.num_candidates)
            tapes[row].start(script)
            next_user += 1
        assert_close(ours.step(slates), expected)
        ended, clicks = ended + len(expected.finished), clicks + int(clicked.sum())
    return ended, clicks


@pytest.mark.parametrize("choice_model", CHOICE_MODELS)
def test_interest_evolution_step_by_step(choice_model: str) -> None:
    # A cascade rarely clicks, so sessions there are 200 minutes / 0.5 = 400 steps.
    steps = 150 if choice_model.startswith("multinomial") else 420
    ended, clicks = play_both("interest_evolution", EvolutionTape, steps, choice_model=choice_model)
    assert ended >= 4 and clicks >= 50


def test_interest_evolution_with_other_sizes() -> None:
    ended, _ = play_both(
        "interest_evolution",
        EvolutionTape,
        40,
        num_candidates=4,
        slate_size=4,
        time_budget=20.0,
        no_click_mass=0.5,
        show_quality=False,
    )
    assert ended >= 4


@pytest.mark.parametrize("choice_model", CHOICE_MODELS)
def test_interest_exploration_step_by_step(choice_model: str) -> None:
    mass = 5.0 if choice_model == "multinomial_logit" else 2.0
    scale = 0.005 if choice_model == "exponential_cascade" else 0.1
    ended, clicks = play_both(
        "interest_exploration",
        ExplorationTape,
        110,
        choice_model=choice_model,
        no_click_mass=mass,
        score_scaling=scale,
    )
    assert ended == 4 and clicks >= 50


@pytest.mark.parametrize("slate_size", [1, 3])
def test_long_term_satisfaction_step_by_step(slate_size: int) -> None:
    ended, _ = play_both(
        "long_term_satisfaction", SatisfactionTape, 130, slate_size=slate_size, sensitivity=0.5
    )
    assert ended == 8


def test_modified_long_term_satisfaction_step_by_step() -> None:
    ended, _ = play_both("modified_long_term_satisfaction", SatisfactionTape, 35)
    assert ended == 12


@pytest.mark.parametrize("name", CHOICE_MODELS)
def test_choice_models_are_the_same_functions(name: str) -> None:
    class User:
        def score_document(self, document: float) -> float:
            return document

    random = RandomState(0)
    for _ in range(50):
        ours = ChoiceModel(
            name,
            no_click_mass=random.uniform(-1, 2),
            min_normalizer=random.uniform(-3, -1),
            attention_prob=random.uniform(0, 1),
            score_scaling=random.uniform(0, 0.2),
        )
        scores = random.uniform(-1, 1, 4)
        google = load("envs.recsim.choice").google_choice_model(ours)
        google.score_documents(User(), scores)
        masses = np.append(google.scores, google.score_no_click)
        expected = masses / masses.sum()  # as RecSim's choose_item does
        found = ours.probabilities(torch.tensor(scores)[None])[0].numpy()
        assert np.abs(found - expected).max() < 1e-12


def random_returns(backend: str, name: str, users: int, seed: int, **arguments: Any) -> Tensor:
    """Return of one whole session of each user under the uniformly random policy, (users,)."""
    simulator = make_simulator(name, users, backend=backend, seed=seed, replace=False, **arguments)
    simulator.reset()
    chooser, total = torch.Generator().manual_seed(seed), torch.zeros(users)
    playing = users
    while playing:
        order = torch.rand(users, simulator.num_candidates, generator=chooser).argsort(dim=1)
        transition = simulator.step(order[:, : simulator.slate_size].contiguous())
        total += transition.reward
        playing -= len(transition.finished)
    return total


# Four standard errors: 4 * deviation of one return / sqrt(users), with the deviations
# 12 (interest evolution), 6 (exploration), 161 (satisfaction) and 24 (modified).
@pytest.mark.parametrize(
    ("name", "arguments", "published", "google_within", "torch_within"),
    [
        ("interest_evolution", {}, 160.7, 6.8, 1.1),  # 50 and 4,000 users; published +-0.3
        ("interest_evolution", {"slate_size": 2}, 154.1, 6.8, 1.1),
        ("interest_exploration", {}, 31.0, 4.0, 0.5),  # 36 users
        ("long_term_satisfaction", {}, 950.0, 91.0, 15.0),  # published as "about 950"
        ("modified_long_term_satisfaction", {}, 98.0, 9.6, 2.7),  # 100; published 96.5 to 99.3
    ],
)
def test_random_returns_agree_with_the_published_ones(
    name: str,
    arguments: dict[str, int],
    published: float,
    google_within: float,
    torch_within: float,
) -> None:
    users = {"interest_exploration": 36, "modified_long_term_satisfaction": 100}.get(name, 50)
    google = float(random_returns("google", name, users, seed=11, **arguments).mean())
    ours = float(random_returns("torch", name, 4000, seed=11, **arguments).mean())
    assert abs(ours - published) < torch_within
    assert abs(google - ours) < google_within


def test_clicks_and_watched_quality_are_distributed_alike() -> None:
    means = []
    for backend, users in (("google", 60), ("torch", 2000)):
        simulator = make_simulator("interest_evolution", users, backend=backend, seed=5)
        simulator.reset()
        slates = torch.tensor([[0, 1, 2]]).expand(users, -1)
        response = torch.stack([simulator.step(slates).response for _ in range(20)])
        click, quality = response[..., 0], response[..., -2]
        means.append([float(click.sum(dim=2).mean()), float((click * quality).sum() / click.sum())])
    (google_click, google_quality), (click, quality) = means
    # 1,200 steps: the click of a step deviates by 0.5, a topic's quality by 1.7.
    assert abs(google_click - click) < 0.06
    assert abs(google_quality - quality) < 0.25
