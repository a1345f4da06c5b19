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


def test_gymnasiums_environments_tell_nothing() -> None:
    simulator = make_simulator("CartPole-v1", 2)
    simulator.reset()
    assert simulator.insight() is None
