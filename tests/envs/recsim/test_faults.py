"""Each fault of recsim 0.2.4 that the adapter puts right, and what it leaves as published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from envs.choice import ChoiceModel
from envs.recsim import Session, composition_of, make_google_simulator
from envs.recsim.importing import load
from envs.spec import number, one_hot, vector

CHOICE_MODELS = [
    "multinomial_logit",
    "multinomial_proportional",
    "exponential_cascade",
    "proportional_cascade",
]


def session(name: str, seed: int = 0, user: int = 0, **arguments: Any) -> Session:
    return Session(composition_of(name, **arguments), seed, user)


def test_long_term_satisfaction_uses_its_seed() -> None:
    first = [session("long_term_satisfaction", seed).candidates for seed in (1, 1, 2)]
    assert np.array_equal(first[0], first[1]) and not np.array_equal(first[0], first[2])


def test_users_and_documents_draw_different_streams() -> None:
    # Published: both samplers start from one seed, so the first dense document
    # is the user itself.
    play = session("interest_evolution", dense_features=True, num_topics=5, num_candidates=9)
    assert not any(np.allclose(play.user, row) for row in play.candidates)


def test_document_numbers_start_again_with_every_user() -> None:
    # Sweet documents lie at even positions only if the counter starts again.
    simulator = make_google_simulator(
        "modified_long_term_satisfaction", 1, num_candidates=3, time_budget=1
    )
    simulator.reset()
    for _ in range(4):
        scores = simulator.step(torch.tensor([[0]])).observation.candidates[0, :, 0]
        assert (scores > 0.5).tolist() == [True, False, True]


def test_a_step_does_not_change_the_previous_observation() -> None:
    simulator = make_google_simulator("interest_evolution", 4, seed=1)
    before = simulator.reset()
    kept = before.map(torch.clone)
    for _ in range(5):
        simulator.step(torch.tensor([[0, 1, 2]] * 4))
    assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))
    play = session("interest_evolution")
    user, copy = play.user, play.user.copy()
    while not play.response[:, 0].any():
        play.step([0, 1, 2])
    assert np.array_equal(user, copy) and not np.array_equal(play.user, copy)


def test_slate_positions_are_positions_of_the_observation() -> None:
    # Within 150 steps ids pass from 999 to 1000, which a Gymnasium Dict sorts as strings.
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    play = session("interest_exploration", num_candidates=8, slate_size=8, time_limit=200)
    for _ in range(150):
        shown = play.candidates
        play.step(order)
        assert np.array_equal(play.response[:, 1:], shown[order])


def test_rewards_and_ends_come_as_terminated_and_truncated() -> None:
    simulator = make_google_simulator("interest_exploration", 1, time_limit=2)
    simulator.reset()
    first, second = (simulator.step(torch.tensor([[0, 1, 2]])) for _ in range(2))
    assert not first.truncated.any() and second.truncated.all()
    assert not second.terminated.any() and second.finished.tolist() == [0]


def test_exploration_ends_after_100_steps() -> None:
    assert composition_of("interest_exploration").time_limit == 100
    assert composition_of("interest_exploration", time_limit=None).time_limit is None


def test_what_comes_back_holds_tensors_and_no_simulator() -> None:
    simulator = make_google_simulator("interest_evolution", 1)
    simulator.reset()
    transition = simulator.step(torch.tensor([[0, 1, 2]]))
    values = [*transition.observation, *transition.final, *transition[1:-1]]
    assert all(isinstance(value, torch.Tensor) for value in values)


def test_close_does_nothing_and_render_gives_text() -> None:
    simulator = make_google_simulator("modified_long_term_satisfaction", 1, num_candidates=2)
    simulator.reset()
    assert simulator.render().splitlines()[0] == "user 0, step 0, running: time -0.5"
    reward = float(simulator.step(torch.tensor([[1]])).reward)
    lines = simulator.render().splitlines()
    assert lines[0] == "user 0, step 1, running: time -0.4"
    assert lines[1].startswith("  candidate 0: clickbait_score 0.")
    assert lines[3] == f"  response 0: click 1; engagement {reward:.3g}"
    simulator.close()


@pytest.mark.parametrize(
    ("slate", "sentence"),
    [
        ([[0, 0, 1]], r"slate \[0, 0, 1\] of row 0 repeats a position; show each once"),
        ([[0, -1, 1]], "slates hold position -1; allowed are 0 to 9"),
        ([[0, 10, 1]], "slates hold position 10; allowed are 0 to 9"),
        ([[0, 1]], r"slates have shape \(1, 2\)"),
        ([[0, 1, 2, 3]], r"slates have shape \(1, 4\)"),
    ],
)
def test_bad_slates_are_refused(slate: list[list[int]], sentence: str) -> None:
    simulator = make_google_simulator("interest_evolution", 1)
    simulator.reset()
    with pytest.raises(ValueError, match=sentence):
        simulator.step(torch.tensor(slate))


@pytest.mark.parametrize("slate", [[0, 0, 1], [0, -1, 1], [0, 10, 1], [0, 1], [0, 1, 2, 3]])
def test_a_session_refuses_bad_slates_too(slate: list[int]) -> None:
    with pytest.raises(ValueError, match="it must hold 3 distinct positions from 0 to 9"):
        session("interest_evolution").step(slate)


def test_a_step_after_the_end_is_refused() -> None:
    play = session("modified_long_term_satisfaction", time_budget=1)
    play.step([0])
    assert play.ended
    with pytest.raises(ValueError, match="user 0 has ended after 1 steps; start a new one"):
        play.step([0])


def test_long_term_satisfaction_reads_slot_0() -> None:
    play = session("long_term_satisfaction", slate_size=3)
    play.step([2, 0, 1])
    assert play.response[:, 0].tolist() == [1, 0, 0]
    assert play.response[1:, 1].tolist() == [0, 0]


def test_users_of_whom_nothing_is_observed_get_a_constant() -> None:
    for name in ("interest_exploration", "long_term_satisfaction"):
        play = session(name)
        assert composition_of(name).spec.user == (number("anonymous", 0, 1),)
        assert play.user.tolist() == [1.0]


def test_sizes_do_not_leak_between_instances() -> None:
    small = composition_of("interest_evolution", num_topics=5)
    large = composition_of("interest_evolution", num_topics=30)
    few = composition_of("interest_exploration")
    many = composition_of(
        "interest_exploration",
        topic_distribution=(0.2, 0.3, 0.5),
        topic_quality_mean=(0.1, 0.2, 0.3),
        topic_quality_stddev=(0.1, 0.1, 0.1),
        user_document_mean_affinity_matrix=((0.1, 0.7, 0.2), (0.7, 0.1, 0.2)),
        user_document_stddev_affinity_matrix=((0.1,) * 3,) * 2,
    )
    assert small.spec.candidate == (vector("features", 5, -1, 1),)
    assert large.spec.candidate == (vector("features", 30, -1, 1),)
    assert few.spec.candidate[0] == number("cluster_id", 0, 1)
    assert many.spec.candidate[0] == one_hot("cluster_id", 3)
    assert [Session(c, 0, 0).candidates.shape for c in (small, large, few, many)] == [
        (10, 5),
        (10, 30),
        (10, 2),
        (10, 4),
    ]
    evolution = load("recsim.environments.interest_evolution")
    exploration = load("recsim.environments.interest_exploration")
    assert evolution.IEvVideo.NUM_FEATURES == 20 and evolution.IEvUserState.NUM_FEATURES == 20
    assert exploration.IEDocument.NUM_CLUSTERS == exploration.IEResponse.NUM_CLUSTERS == 0


@pytest.mark.parametrize(("topics", "bad"), [(7, 4), (15, 10), (33, 23)])
def test_any_number_of_topics_has_mean_qualities(topics: int, bad: int) -> None:
    play = session("interest_evolution", num_topics=topics, num_candidates=60, slate_size=60)
    play.step(range(60))
    topic, quality = play.response[:, 1 : topics + 1].argmax(axis=1), play.response[:, -2]
    mean = np.concatenate([np.linspace(-3, 0, bad), np.linspace(0, 3, topics - bad)])
    assert np.abs(quality - mean[topic]).max() < 0.5  # 5 standard deviations


def test_videos_are_those_of_the_published_sampler() -> None:
    published = load("recsim.environments.interest_evolution").UtilityModelVideoSampler()
    worlds = load("envs.recsim.worlds.interest_evolution")
    ours = worlds.VideoSampler(worlds.Videos(20))  # both draw from seed 0 when made alone
    for _ in range(100):
        a, b = (vars(sampler.sample_document()) for sampler in (published, ours))
        assert a.keys() == b.keys()
        assert np.array_equal(a.pop("features"), b.pop("features"))
        assert a == b


@pytest.mark.parametrize("choice_model", CHOICE_MODELS)
def test_dense_documents_work_with_the_user_model(choice_model: str) -> None:
    simulator = make_google_simulator(
        "interest_evolution", 2, dense_features=True, choice_model=choice_model
    )
    candidates = simulator.reset().candidates
    assert 0 < float(candidates.abs().min()) < float(candidates.abs().max()) < 1
    shown = candidates[:, :3]
    response = simulator.step(torch.tensor([[0, 1, 2]] * 2)).response
    assert torch.equal(response[:, :, 1:21].argmax(dim=2), shown.argmax(dim=2))
    for _ in range(60):
        simulator.step(torch.tensor([[0, 1, 2]] * 2))


def test_a_response_of_long_term_satisfaction_can_be_printed() -> None:
    worlds = load("envs.recsim.worlds.long_term_satisfaction")
    assert str(worlds.Response(True, 2.5)) == repr(worlds.Response(True, 2.5)) == "[2.5]"


def test_the_reward_is_not_clipped_while_the_observation_is() -> None:
    play = session("long_term_satisfaction", choc_mean=16.0, kale_mean=16.0)
    reward = play.step([0])  # e^(16/2) = 2,981, give or take a factor of e^3
    assert reward > 100 and play.response.tolist() == [[1.0, 100.0]]


def test_quality_can_be_hidden() -> None:
    names = [f.name for f in composition_of("interest_evolution", show_quality=False).spec.response]
    assert names == ["click", "cluster_id", "liked", "watch_time"]
    play = session("interest_evolution", show_quality=False)
    play.step([0, 1, 2])
    assert play.response.shape == (3, 23)


@pytest.mark.parametrize("choice_model", CHOICE_MODELS)
@pytest.mark.parametrize("name", ["interest_evolution", "interest_exploration"])
def test_every_choice_model_runs(name: str, choice_model: str) -> None:
    simulator = make_google_simulator(name, 8, choice_model=choice_model, seed=1)
    simulator.reset()
    clicks = [simulator.step(torch.tensor([[0, 1, 2]] * 8)).response[..., 0] for _ in range(60)]
    total = torch.stack(clicks).sum(dim=2)
    assert 0 < float(total.sum()) < total.numel() and total.max() == 1


@pytest.mark.parametrize(
    ("choice_model", "parameters"),
    [
        ("multinomial_logit", {"no_click_mass": 50.0}),
        ("multinomial_proportional", {"no_click_mass": 1e6}),
        ("multinomial_proportional", {"min_normalizer": -1.0, "no_click_mass": 1e6}),
        ("exponential_cascade", {"attention_prob": 0.0}),
        ("proportional_cascade", {"score_scaling": 0.0}),
    ],
)
@pytest.mark.parametrize("name", ["interest_evolution", "interest_exploration"])
def test_parameters_reach_the_choice_model(
    name: str, choice_model: str, parameters: dict[str, float]
) -> None:
    simulator = make_google_simulator(name, 4, choice_model=choice_model, **parameters)
    simulator.reset()
    for _ in range(20):
        assert not simulator.step(torch.tensor([[0, 1, 2]] * 4)).response[..., 0].any()


def test_assertions_of_recsim_become_sentences() -> None:
    simulator = make_google_simulator(
        "interest_evolution", 1, choice_model="exponential_cascade", score_scaling=50.0
    )
    simulator.reset()
    sentence = "RecSim's code refuses this step: score_scaling cannot convert score"
    with pytest.raises(ValueError, match=sentence):
        simulator.step(torch.tensor([[0, 1, 2]]))


def test_the_proportional_cascade_refuses_negative_scores_only() -> None:
    choice = load("envs.recsim.choice")
    model = choice.google_choice_model(ChoiceModel("proportional_cascade"))

    class User:
        def score_document(self, document: float) -> float:
            return document

    model.score_documents(User(), [0.5, -1.0])
    # 0.65 * 0.05 * (0.5 + 1) = 0.04875, then nothing.
    assert model.scores == pytest.approx([0.04875, 0.0])
    assert model.score_no_click == pytest.approx(0.95125)
    with pytest.raises(ValueError, match=r"a score lies 0\.5 below min_normalizer"):
        model.score_documents(User(), [0.5, -1.5])


def test_time_budgets_are_arguments() -> None:
    play = session("interest_evolution", time_budget=0.4, no_click_mass=1e9)
    play.step([0, 1, 2])  # no click costs 0.5 minutes
    assert play.terminated


@pytest.mark.parametrize("name", CHOICE_MODELS[:3])  # published, the fourth cannot run
def test_choices_are_those_of_the_published_models(name: str) -> None:
    published = {
        "multinomial_logit": "MultinomialLogitChoiceModel",
        "multinomial_proportional": "MultinomialProportionalChoiceModel",
        "exponential_cascade": "ExponentialCascadeChoiceModel",
    }
    choice = ChoiceModel(name, no_click_mass=0.5, score_scaling=0.3)
    features = load("envs.recsim.choice").choice_features(choice)
    original = getattr(load("recsim.choice_model"), published[name])(features)
    ours = load("envs.recsim.choice").google_choice_model(choice)

    class User:
        def score_document(self, document: float) -> float:
            return document

    rows = np.random.RandomState(0).uniform(-1, 1, (200, 3))
    kept = np.random.get_state()
    drawn = []
    for model in (original, ours):
        np.random.seed(3)
        found = []
        for row in rows:
            model.score_documents(User(), list(row))
            found.append((model.scores.tolist(), model.score_no_click, model.choose_item()))
        drawn.append((found, np.random.rand()))
    np.random.set_state(kept)
    assert drawn[0] == drawn[1]
    assert {item for _, _, item in drawn[0][0]} == {0, 1, 2, None}


def test_no_attraction_at_all_is_refused_as_published() -> None:
    choice = ChoiceModel("multinomial_proportional", no_click_mass=0.0, min_normalizer=0.0)
    model = load("envs.recsim.choice").google_choice_model(choice)

    class User:
        def score_document(self, document: float) -> float:
            return 0.0

    model.score_documents(User(), [1.0, 2.0])
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match="NaN"):
        model.choose_item()
