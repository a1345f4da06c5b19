from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from envs import make_simulator
from envs.recsim import Composition, compose, composition_of
from envs.recsim.importing import load
from envs.spec import number, one_hot

EXAMPLE = Path(__file__).parents[3] / "docs" / "own_users.py"


def parts() -> Any:
    return load("docs.own_users")


def composed(**changes: Any) -> Composition:
    mine = parts()
    arguments = {
        "user_model": lambda: mine.ReaderModel(
            mine.LTSResponse, mine.ReaderSampler(mine.Reader), 2
        ),
        "document_sampler": lambda: mine.ArticleSampler(mine.Article),
        "reward": mine.clicked_engagement_reward,
        "num_candidates": 3,
        "slate_size": 2,
    }
    return compose(**(arguments | changes))


def test_the_example_is_short_and_plays_whole_sessions() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    simulator = make_simulator("docs.own_users:readers", 4, seed=3, num_candidates=6)
    assert simulator.spec.user == (number("user", 0, 5),)
    assert simulator.spec.candidate == (one_hot("topic", 4),)
    observation = simulator.reset()
    assert observation.user.tolist() == [[5.0]] * 4
    finished = 0
    for _ in range(90):
        transition = simulator.step(torch.tensor([[0, 1]] * 4))
        finished += len(transition.finished)
        assert torch.equal(transition.reward, transition.response[:, :, 0].sum(dim=1))
        assert transition.final.user.tolist() == [[0.0]] * len(transition.finished)
    assert finished >= 8


def test_unknown_arguments_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="no argument 'num_candidate'; did you mean 'num_cand"):
        composition_of("docs.own_users:readers", num_candidate=3)
    with pytest.raises(ValueError, match="no argument 'slate_sise'; did you mean 'slate_size'"):
        composition_of("interest_evolution", slate_sise=3)


def test_names_features_limit_and_history_of_ones_own() -> None:
    simulator = compose_with_options()
    assert simulator.time_limit == 4
    assert simulator.spec.user == (number("patience", 0, 5),)


def compose_with_options() -> Composition:
    return composed(user_feature="patience", time_limit=4)


def test_an_address_must_return_a_composition() -> None:
    with pytest.raises(ValueError, match="returned a OrderedDict; it must return what"):
        composition_of("collections:OrderedDict")
    with pytest.raises(ValueError, match="'math:pi' is a float, not a class or function"):
        composition_of("math:pi")


def test_a_shared_document_sampler_is_refused() -> None:
    shared = parts().ArticleSampler(parts().Article)
    with pytest.raises(ValueError, match="document_sampler gives the same object twice"):
        composed(document_sampler=lambda: shared)


def test_something_else_than_a_user_model_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a AbstractUserModel of recsim, got a dict"):
        composed(user_model=dict)


def test_a_response_without_click_is_refused() -> None:
    mine = parts()

    class Silent(mine.LTSResponse):  # type: ignore[misc]
        @classmethod
        def response_space(cls) -> spaces.Dict:
            return spaces.Dict({"engagement": spaces.Box(0, 1, ())})

    def model() -> Any:
        return mine.ReaderModel(Silent, mine.ReaderSampler(mine.Reader), 2)

    with pytest.raises(ValueError, match="no entry 'click', only: engagement; add 'click'"):
        composed(user_model=model)


def test_values_outside_their_space_are_refused() -> None:
    mine = parts()

    class Sampler(mine.ReaderSampler):  # type: ignore[misc]
        def sample_user(self) -> Any:
            reader = mine.Reader(np.full(4, 0.5))
            reader.patience = 7
            return reader

    def model() -> Any:
        return mine.ReaderModel(mine.LTSResponse, Sampler(mine.Reader), 2)

    sentence = r"feature 'user' has the value 7, but its space declares .* \[0, 5\]"
    with pytest.raises(ValueError, match=sentence):
        simulator_of(composed(user_model=model))


def test_zeros_stand_for_no_response_even_outside_its_range() -> None:
    mine = parts()

    class Loud(mine.LTSResponse):  # type: ignore[misc]
        @classmethod
        def response_space(cls) -> spaces.Dict:
            return spaces.Dict({"click": spaces.Discrete(2), "volume": spaces.Box(1, 5, ())})

        def create_observation(self) -> dict[str, Any]:
            return {"click": int(self.clicked), "volume": 3.0}

    class Model(mine.ReaderModel):  # type: ignore[misc]
        def simulate_response(self, articles: Any) -> Any:
            return [Loud(), Loud()]

    def model() -> Any:
        return Model(Loud, mine.ReaderSampler(mine.Reader), 2)

    def documents() -> Any:
        return mine.ArticleSampler(mine.Article)

    simulator = make_google(compose(model, documents, lambda responses: 1.0, 3, 2))
    assert simulator.reset().response.tolist() == [[[0.0, 0.0]] * 2] * 2
    shown = simulator.step(torch.tensor([[0, 1]] * 2)).observation.response
    assert shown[:, :, 1].tolist() == [[3.0, 3.0]] * 2
    restarted = simulator.restart(torch.tensor([1])).response
    assert restarted[:, :, 1].tolist() == [[3.0, 3.0], [0.0, 0.0]]


def make_google(composition: Composition) -> Any:
    from envs.recsim import GoogleSimulator

    return GoogleSimulator(composition, 2)


def test_own_users_live_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="device is 'cuda', but users of RecSim's and Gymnasium's"):
        make_simulator("docs.own_users:readers", 1, device="cuda")


def test_repeated_document_ids_are_refused() -> None:
    mine = parts()

    class Sampler(mine.ArticleSampler):  # type: ignore[misc]
        def sample_document(self) -> Any:
            return mine.Article(1)

    with pytest.raises(ValueError, match="3 candidates were asked for, but only 1 have ids"):
        simulator_of(composed(document_sampler=lambda: Sampler(mine.Article)))


def simulator_of(composition: Composition) -> Any:
    simulator = make_google(composition)
    simulator.reset()
    return simulator
