"""Google's worlds and users' own as Gymnasium and RLlib see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from envs.recsim import Session, composition_of, google_world_names
from envs.views import FlatView, RecSimEnv

EXAMPLE = "docs.own_users:readers"
worlds = pytest.mark.parametrize("name", [*google_world_names(), EXAMPLE])


def environment(name: str) -> RecSimEnv:
    return RecSimEnv(name, backend="google", render_mode="ansi")


def whole_session(env: RecSimEnv) -> list[dict[str, NDArray[Any]]]:
    env.action_space.seed(0)
    seen = [env.reset(seed=3)[0]]
    ended = False
    while not ended and len(seen) < 200:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(observation)
        ended = terminated or truncated
    return seen


@worlds
@pytest.mark.filterwarnings("ignore:.*Box observation space")
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped")
def test_gymnasium_checks(name: str) -> None:
    check_env(environment(name))
    check_env(FlatView(environment(name)), skip_render_check=True)


@worlds
def test_rllib_checks(name: str) -> None:
    from ray.rllib.env.multi_agent_env import make_multi_agent
    from ray.rllib.utils.pre_checks.env import check_multiagent_environments

    # RLlib's checker takes multi-agent environments alone.
    many = make_multi_agent(lambda config: RecSimEnv(name, **config))
    check_multiagent_environments(many({"num_agents": 2, "backend": "google"}))


@worlds
def test_every_observation_of_a_session_is_float32_inside_its_space(name: str) -> None:
    env = environment(name)
    spaces = env.observation_space.spaces  # type: ignore[attr-defined]
    session = whole_session(env)
    assert len(session) > 10
    for observation in session:
        assert observation.keys() == spaces.keys()
        for key, space in spaces.items():
            assert observation[key].dtype == (np.int8 if key == "mask" else np.float32)
            assert space.contains(observation[key]), (key, observation[key])


@worlds
def test_info_holds_numbers_and_no_simulator(name: str) -> None:
    env = environment(name)
    assert env.reset(seed=0)[1] == {}
    info = env.step(np.arange(env.action_space.shape[0]))[4]  # type: ignore[index]
    assert "click" in info
    assert all(type(value) is float for value in info.values())


@worlds
def test_the_first_response_is_zero_with_a_flag(name: str) -> None:
    env = environment(name)
    for observation in (env.reset(seed=0)[0], env.reset()[0]):
        assert observation["response"].shape[0] == env.action_space.shape[0]  # type: ignore[index]
        assert not observation["response"].any() and not observation["history"].any()
        assert observation["has_response"].tolist() == [0.0]
        later = env.step(np.arange(env.action_space.shape[0]))[0]  # type: ignore[index]
        assert later["has_response"].tolist() == [1.0]


def test_users_and_documents_draw_from_streams_of_their_own() -> None:
    # Published, both samplers start from seed 0 and draw the same numbers. Here the user's
    # 20 interests and the documents' 10 x 20 features are uniform on [-1, 1] alike.
    numbers = []
    for user in range(5):
        play = Session(composition_of("interest_evolution", dense_features=True), 0, user)
        numbers += [*play.user.tolist(), *play.candidates.ravel().tolist()]
    assert len(set(numbers)) == 5 * (20 + 200)
