import math

import pytest
import torch

from envs.registry import make_simulator, world_names


@pytest.mark.parametrize("name", world_names())
def test_what_a_world_tells_people_has_a_number_for_each(name: str) -> None:
    simulator = make_simulator(name, 4, seed=1)
    simulator.reset()
    for _ in range(2):
        told = simulator.insight()
        assert told is not None
        shape = (4, simulator.num_candidates)
        assert all(value.shape == shape and value.isfinite().all() for value in told.items.values())
        assert all(value.shape == (4,) and value.isfinite().all() for value in told.users.values())
        if told.topic is not None:
            assert told.topic.shape == shape
            assert 0 <= int(told.topic.min()) <= int(told.topic.max()) < len(told.topic_names)
        assert set(told.tension or ()) <= {*told.items, *told.users}
        simulator.step(torch.arange(simulator.slate_size).expand(4, -1))


def test_interest_evolution_tells_the_topics_mean_quality() -> None:
    simulator = make_simulator("interest_evolution", 1, seed=0, num_topics=10)
    simulator.reset()
    told = simulator.insight()
    assert told is not None and told.topic is not None
    # 7 topics from -3 to 0, 3 from 0 to 3.
    mean = torch.tensor([-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.0, 1.5, 3.0])
    torch.testing.assert_close(told.items["mean quality of the topic"], mean[told.topic])
    assert told.topic_names[1] == "quality -2.5"
    assert told.users["time left, minutes"].tolist() == [200.0]


def test_satisfaction_is_what_multiplies_engagement() -> None:
    simulator = make_simulator("modified_long_term_satisfaction", 1, seed=0)
    simulator.reset()
    told = simulator.insight()
    assert told is not None
    # The exposure starts at 1: 1 / (1 + exp(-0.9)) = 0.710950.
    assert told.users["satisfaction"].tolist() == pytest.approx([0.710950], abs=1e-6)
    sweet = float(told.items["clickbait"][0, 0])
    step = simulator.step(torch.tensor([[0]]))
    assert float(step.reward[0]) == pytest.approx(math.exp(5 * sweet * 0.710950), rel=1e-4)


def test_boredom_attracts_by_taste_and_quality_and_wears_out_by_genre() -> None:
    simulator = make_simulator("boredom", 1, seed=0, slate_size=1, impatience=0.0)
    simulator.reset()
    first = simulator.insight()
    assert first is not None and first.users["mean boredom"].tolist() == [0.0]
    clicked = False
    for _ in range(15):
        slate = torch.tensor([[0]])
        told = simulator.insight()
        assert told is not None and told.topic is not None
        shown = int(told.topic[0, 0])
        response = simulator.step(slate).response
        if float(response[0, 0, 0]) == 1:
            clicked = True
            break
    assert clicked
    told = simulator.insight()
    assert told is not None and told.topic is not None
    # A click raises the genre's boredom by 3 of 4 levels; there are 4 genres.
    worn = (told.topic[0] == shown).float()
    torch.testing.assert_close(told.items["boredom with the genre"][0], 0.75 * worn)
    assert told.users["mean boredom"].tolist() == pytest.approx([0.75 / 4])


def test_gymnasiums_environments_tell_nothing() -> None:
    simulator = make_simulator("CartPole-v1", 2)
    simulator.reset()
    assert simulator.insight() is None
