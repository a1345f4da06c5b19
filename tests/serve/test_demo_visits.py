"""Users of the demo, against a real endpoint without Ray."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from envs.noise import AddressedNoise
from envs.registry import make_simulator
from envs.spec import FeatureSpec, identifier, number, one_hot, vector
from serve.demonstrating.by_hand import HandVisit, draw, response
from serve.demonstrating.choosing import can_be_told, enter, enterable, profile, step_with_click
from serve.demonstrating.client import Client
from serve.demonstrating.context import Context
from serve.demonstrating.playing import Player, rivals
from serve.demonstrating.visits import NEVER, SimulatedVisit, slate_of
from serve.keys import Keys
from serve.simulating.client import EndpointError
from serve.token import TokenWriter
from tests.serve.demonstrated import EVOLUTION, SWEETS, demo_of, greedy
from tests.serve.simulated import of_baseline

SEED = 11


@pytest.fixture(scope="module")
def policy() -> Policy:
    return greedy(EVOLUTION)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, policy: Policy) -> Iterator[Context]:
    with demo_of(tmp_path_factory.mktemp("demo"), policy, EVOLUTION) as found:
        yield found


def visit_of(context: Context, user: int = 0, **options: Any) -> SimulatedVisit:
    assert context.world is not None
    visit = SimulatedVisit(Client(context.url), context.world, context.seed, user, **options)
    visit.ask()
    return visit


def lines(context: Context, kind: str) -> list[dict[str, Any]]:
    shards = sorted((Path(context.state) / "log").glob(f"{kind}-*.jsonl"))
    return [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]


def test_users_earn_what_evaluation_says_with_the_endpoint_and_with_the_rivals(
    context: Context, policy: Policy
) -> None:
    visit = visit_of(context, user=2)
    while not visit.over:
        visit.choose()
    visit.finish()
    endpoint, chance, clicks = visit.tracks
    assert [track.name for track in visit.tracks] == ["endpoint", "random", "click_maximiser"]
    expected = evaluate_policy(policy, EVOLUTION, 3, SEED)
    assert endpoint.total == pytest.approx(expected.returns[2])
    assert len(endpoint.rewards) == expected.lengths[2]
    own = evaluate_policy(of_baseline("click_maximiser", EVOLUTION), EVOLUTION, 3, SEED)
    assert clicks.total == pytest.approx(own.returns[2])
    assert all(track.over for track in visit.tracks)
    # Chance meets the same user, and is not what the others did.
    assert np.array_equal(chance.users[0], endpoint.users[0])
    assert chance.rewards != clicks.rewards


def test_the_endpoint_remembers_what_the_page_shows(context: Context) -> None:
    visit = visit_of(context, user=5)
    for _ in range(4):
        visit.choose()
    spec, history = visit.spec, visit.player.simulator.history
    keys = Keys.find(Path(context.state) / "keys")
    token = TokenWriter(keys, history.version, history.size, spec.candidate_size)
    held = token.read(visit.talk.token)
    assert held.step == 4
    assert held.history == pytest.approx(visit.player.seen.history[0].numpy(), abs=1e-6)
    assert float(np.abs(held.history).sum()) > 0


def test_every_response_reaches_the_log_the_last_one_as_feedback(context: Context) -> None:
    visit = visit_of(context, user=7)
    while not visit.over:
        visit.choose()
    rows = [row for row in lines(context, "impressions") if row["user_id"] == "demo-7"]
    told = [row["previous_response"] for row in sorted(rows, key=lambda row: row["step"])]
    assert told[0] is None
    assert None not in told[1:]
    last = rows[-1]["impression_id"]
    assert [row["impression_id"] for row in lines(context, "feedback")].count(last) == 1
    assert visit.talk.ended


def test_items_carry_the_answers_scores_and_propensities(context: Context) -> None:
    visit = visit_of(context, user=1, epsilon=0.5)
    answer = visit.talk.answer
    assert answer is not None
    shown = slate_of(visit.items)
    assert [item.score for item in shown] == [item["score"] for item in answer["slate"]]
    assert [item.slot for item in shown] == [0, 1, 2]
    assert len(visit.items) == 10
    # Ten candidates and epsilon 0.5: the best has 0.5 + 0.5 / 10, any other 0.05.
    assert shown[0].propensity in (pytest.approx(0.55), pytest.approx(0.05))


def test_a_visitor_clicks_in_the_users_place(context: Context) -> None:
    visit = visit_of(context, user=3)
    visit.click(1)
    assert visit.player.track.clicks == [1.0]
    assert visit.player.track.rewards == [4.0]  # a video has four minutes
    visit.click(None)
    assert visit.player.track.rewards == [4.0, 0.0]
    assert visit.player.told == 2
    rows = [row for row in lines(context, "impressions") if row["user_id"] == "demo-3"]
    width = visit.spec.response_size
    column = visit.spec.response_slice("click").start
    assert rows[1]["previous_response"][column::width] == [0, 1, 0]
    assert rows[2]["previous_response"][column::width] == [0, 0, 0]


def test_a_told_click_changes_nothing_but_the_click() -> None:
    slate = torch.tensor([[4, 0, 7]])
    told = make_simulator(num_users=1, seed=SEED, replace=False, **EVOLUTION)
    plain = make_simulator(num_users=1, seed=SEED, replace=False, **EVOLUTION)
    for simulator in (told, plain):
        simulator.reset(torch.tensor([9]))
    before = told.observe()
    found = step_with_click(told, slate, 2, EVOLUTION, SEED)
    assert found is not None
    after = plain.step(slate)
    assert torch.equal(found.observation.candidates, after.observation.candidates)
    assert found.response[0, :, 0].tolist() == [0, 0, 1]
    # Only the interest in the clicked topic moves.
    moved = (found.observation.user != before.user)[0].nonzero()[:, 0].tolist()
    topic = int(before.candidates[0, 7].argmax())
    assert moved == [topic]
    expected = told.history.update(before.history, before.candidates, found.response, slates=slate)
    assert torch.allclose(found.observation.history, expected)


def test_told_clicks_bring_what_clicks_by_chance_bring() -> None:
    """Interests move towards a clicked topic with probability (x + 1) / 2, told or not."""
    slate, towards, counted = torch.tensor([[0, 1, 2]]), 0, 0
    expected = 0.0
    for user in range(60):
        simulator = make_simulator(num_users=1, seed=SEED, replace=False, **EVOLUTION)
        seen = simulator.reset(torch.tensor([user]))
        topic = int(seen.candidates[0, 0].argmax())
        found = step_with_click(simulator, slate, 0, EVOLUTION, SEED)
        if found is None:
            continue
        counted += 1
        expected += (float(seen.user[0, topic]) + 1) / 2
        towards += int(found.observation.user[0, topic] > seen.user[0, topic])
    assert counted > 50
    # Standard deviation of the sum is at most sqrt(60) / 2 = 3.9.
    assert abs(towards - expected) < 3 * 3.9


def test_what_a_user_never_does_cannot_be_told(tmp_path: Path) -> None:
    sweet = greedy(SWEETS)
    with demo_of(tmp_path, sweet, SWEETS) as context:
        visit = visit_of(context)
        with pytest.raises(ValueError, match=re.escape(NEVER)):
            visit.click(None)  # this user consumes whatever is first
        assert visit.player.track.rewards == []
        visit.click(0)
        while not visit.over:
            visit.choose()
        assert len(visit.player.track.rewards) == 10
        assert set(visit.player.track.hidden) == {"exposure"}


def test_a_profile_may_be_entered_where_the_world_keeps_it() -> None:
    simulator = make_simulator(num_users=1, seed=SEED, replace=False, **EVOLUTION)
    simulator.reset(torch.tensor([0]))
    assert enterable(simulator) == ["interests"]
    assert can_be_told(simulator)
    values = [0.05 * column - 0.5 for column in range(20)]
    seen = enter(simulator, {"interests": values}, SEED)
    assert seen.user[0].tolist() == pytest.approx(values)
    assert profile(simulator)["interests"].tolist() == pytest.approx(values)
    draws = AddressedNoise(SEED).at(torch.tensor([0]), torch.tensor([0]))
    topics = simulator.world.new_candidates({}, draws)["topic"]  # type: ignore[attr-defined]
    assert torch.equal(seen.candidates[0].argmax(1), topics[0])
    with pytest.raises(ValueError, match="interests takes 20 numbers from -1 to 1"):
        enter(simulator, {"interests": [2.0] * 20}, SEED)
    sweet = make_simulator(num_users=1, **SWEETS)
    sweet.reset()
    with pytest.raises(ValueError, match="time is set by the world"):
        enter(sweet, {"time": [0.0]}, 0)


def test_all_policies_play_the_user_that_was_entered(context: Context) -> None:
    values = [0.9] + [-0.9] * 19
    visit = visit_of(context, entered={"interests": values})
    for track in visit.tracks:
        assert track.users[0].tolist() == pytest.approx(values)


def test_a_world_without_appeal_has_one_rival() -> None:
    names = [rival.player.track.name for rival in rivals(SWEETS, 0, 0)]
    assert names == ["random", "click_maximiser"]
    digits = {"name": "digits_bandit"}
    assert [rival.player.track.name for rival in rivals(digits, 0, 0)] == ["random"]


def test_one_seed_one_user() -> None:
    slate = [0, 1, 2]
    first, again = (Player("x", EVOLUTION, SEED, 4) for _ in range(2))
    other = Player("x", EVOLUTION, SEED + 1, 4)
    for player in (first, again, other):
        player.step(slate)
    assert np.array_equal(first.track.users, again.track.users)
    assert not np.array_equal(first.track.users, other.track.users)


def test_a_failed_request_can_be_sent_again(context: Context) -> None:
    visit = visit_of(context, user=6)
    client = visit.talk.client
    visit.talk.client = Client("http://127.0.0.1:9")
    with pytest.raises(EndpointError, match="does not answer"):
        visit.choose()
    assert visit.talk.answer is None
    assert len(visit.player.track.rewards) == 1
    visit.talk.client = client
    visit.ask()
    answer = visit.talk.answer
    assert answer is not None
    assert answer["step"] == 1


def test_an_endpoint_of_other_features_is_refused(context: Context) -> None:
    with pytest.raises(ValueError, match="the endpoint expects the user features"):
        SimulatedVisit(Client(context.url), SWEETS, 0, 0)


def test_a_user_by_hand_clicks_alone(context: Context) -> None:
    user = {"interests": [0.5] + [0.0] * 19}
    visit = HandVisit(Client(context.url), user, candidates=6, slate_size=2, seed=1)
    visit.ask()
    assert [item.slot for item in visit.items] == [0, 1]
    visit.click(1, {"watch_time": 3.0})
    rows = [row for row in lines(context, "impressions") if row["user_id"] == "demo-by-hand"]
    told = np.array(rows[-1]["previous_response"]).reshape(2, -1)
    assert told[:, visit.spec.response_slice("click")].ravel().tolist() == [0, 1]
    assert told[:, visit.spec.response_slice("watch_time")].ravel().tolist() == [0, 3]
    assert visit.track.clicks == [1.0]


def test_made_up_features_lie_in_their_ranges() -> None:
    group = (
        number("price", 2.0, 5.0),
        number("age", 0.0),
        one_hot("genre", 4),
        identifier("author", 3),
        vector("taste", 2, -1, 1),
    )
    found = draw(group, 400, np.random.default_rng(0))
    assert found.shape == (400, 9)
    price, age, genre, author, taste = (
        found[:, 0],
        found[:, 1],
        found[:, 2:6],
        found[:, 6],
        found[:, 7:],
    )
    assert (price >= 2).all() and (price <= 5).all() and price.std() > 0.5
    assert (age >= 0).all() and (age <= 1).all()
    assert (genre.sum(1) == 1).all() and (genre.sum(0) > 50).all()
    assert set(author.tolist()) == {0, 1, 2}
    assert (np.abs(taste) <= 1).all()


def test_what_comes_back_for_an_item() -> None:
    spec = FeatureSpec(
        (number("age"),),
        (number("price"),),
        (number("click", 0, 1), number("rating", 1, 5), number("minutes", 0), one_hot("kind", 2)),
    )
    told = {"rating": 4.0, "minutes": 2.5}
    assert response(spec.response, True, told) == {
        "click": 1.0,
        "rating": 4.0,
        "minutes": 2.5,
        "kind": [0.0, 0.0],
    }
    # Nothing is told of what was not clicked; a rating is at least 1.
    assert response(spec.response, False, told)["rating"] == 1.0
    assert response(spec.response, False, told)["minutes"] == 0.0
