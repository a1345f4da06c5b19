from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from algorithms.core.slates import SlateDistribution
from algorithms.policy import baseline
from offline.log.schema import COLUMNS, Header
from serve.drawing import decide, draw, observe
from serve.engine import Engine
from serve.problem import Refused
from serve.row import AFTER, NOT_YET
from serve.safe import Safe
from serve.schemas import example_responses
from serve.settings import Settings
from tests.serve.conftest import Ask, Clock, Endpoint, policy_of


def again(engine: Engine, header: Header, ask: Ask, answer: Any, **changes: Any) -> Any:
    """The next request of a session whose last slate had its first item clicked."""
    responses = example_responses(header.spec, len(answer.drawn.slate))
    return ask(engine, session=answer.token, responses=responses, **changes)


def test_a_row_holds_every_column_of_the_log_that_is_known(endpoint: Endpoint, ask: Ask) -> None:
    engine = endpoint.engine()
    engine.recommend([ask(engine, user_id="u", request_id="r")])
    (row,) = endpoint.lines()
    assert list(row) == [name for name in COLUMNS if name not in NOT_YET] + list(AFTER)
    assert (row["user_id"], row["request_id"], row["previous"]) == ("u", "r", "")
    assert (row["step"], row["time"], row["generation"]) == (0, 1_700_000_000.0, 1)
    assert row["propensity_source"] == "exact"


def test_logged_propensities_follow_from_the_logged_distribution(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine(policy_of(header, 0.3, 0.7))
    requests: list[dict[str, Any]] = [
        {},
        {"excluded": ["item-0", "never-heard-of"]},
        {"eligible": ["item-1", "item-4", "item-5", "item-6"], "slate_size": 4},
        {"pinned": [{"slot": 1, "id": "item-7"}], "epsilon": 0.5},
    ]
    for request in requests:
        engine.recommend([ask(engine, **request)])
    for row, epsilon in zip(endpoint.lines(), (0.3, 0.3, 0.3, 0.5), strict=True):
        mask = [True] * 8 if row["mask"] is None else [bool(flag) for flag in row["mask"]]
        stated = SlateDistribution(
            torch.tensor([row["log_weights"]]),
            torch.tensor([mask]),
            len(row["slate"]),
            row["epsilon"],
            row["temperature"],
            None,
            None if row["pinned"] is None else torch.tensor([row["pinned"]]),
        )
        slots = stated.slot_log_prob(torch.tensor([row["slate"]]))[0]
        np.testing.assert_allclose(row["slot_log_propensities"], slots, rtol=1e-5, atol=1e-6)
        assert row["log_propensity"] == pytest.approx(float(slots.sum()), rel=1e-5)
        assert (row["epsilon"], row["temperature"]) == (epsilon, 0.7)


@pytest.mark.parametrize(
    ("epsilon", "temperature", "request_"),
    [
        (0.2, 0.0, {}),
        (0.0, 0.5, {"excluded": ["item-7", "item-2"]}),
        (0.1, 1.0, {"pinned": [{"slot": 1, "id": "item-0"}], "excluded": ["item-5"]}),
        (0.1, 0.0, {"pinned": [{"slot": 2, "id": "item-7"}], "epsilon": 0.4}),
    ],
)
def test_100_000_slates_are_as_likely_as_stated(
    endpoint: Endpoint,
    ask: Ask,
    header: Header,
    epsilon: float,
    temperature: float,
    request_: dict[str, Any],
) -> None:
    policy = policy_of(header, epsilon, temperature)
    asked = ask(endpoint.engine(policy), **request_)
    draws = 100_000
    generator = torch.Generator().manual_seed(5)
    seen = observe([asked] * draws, [np.zeros(24, np.float32)] * draws, [True] * draws)
    drawn = draw(decide(policy, seen, [asked] * draws), generator)
    slates = np.stack([one.slate for one in drawn])
    slots = np.stack([one.slots for one in drawn]).astype(np.float64)
    # Each slate's share against its stated propensity; and as every possible slate has a
    # positive one, 1 / p sums to their number: pi says so without looking at the shares.
    _, first, counts = np.unique(slates, axis=0, return_index=True, return_counts=True)
    stated = np.exp(slots.sum(axis=1))[first]
    deviation = (counts - draws * stated) / np.sqrt(draws * stated * (1 - stated) + 1e-9)
    often = draws * stated > 10
    assert often.sum() >= 5
    assert np.abs(deviation[often]).max() < 4.5
    weights = np.exp(-slots.sum(axis=1))
    able = int(asked.mask.sum())
    free = 3 - len(request_.get("pinned", ()))
    others = able - len(request_.get("pinned", ()))
    possible = math.perm(others, free)
    error = weights.std() / math.sqrt(draws)
    assert abs(weights.mean() - possible) < 4.5 * error
    # Slot by slot, given the slots before: the same.
    for slot in range(3):
        ahead = np.exp(-slots[:, slot])
        choices = 1 if asked.pinned is not None and asked.pinned[slot] >= 0 else None
        taken = sum(asked.pinned is None or asked.pinned[s] < 0 for s in range(slot))
        expected = choices or others - taken
        assert abs(ahead.mean() - expected) <= 4.5 * ahead.std() / math.sqrt(draws) + 1e-5
    assert asked.mask[slates].all()


def test_history_is_that_of_training_step_by_step(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine()
    history = header.history
    assert history is not None
    answer = engine.recommend([ask(engine)])[0]
    state = history.initial(1)
    for step in range(3):
        shown = torch.from_numpy(answer.turn.asked.offer.features[answer.drawn.slate][None])
        asked = again(engine, header, ask, answer)
        state = history.update(state, shown, torch.from_numpy(asked.response[None]))
        before, answer = answer, engine.recommend([asked])[0]
        row = endpoint.lines()[-1]
        np.testing.assert_array_equal(np.array(row["history"], np.float32), state[0].numpy())
        assert (row["step"], row["previous"]) == (step + 1, before.impression)
        assert row["previous_response"] == asked.response.ravel().tolist()
    assert len({row["session_id"] for row in endpoint.lines()}) == 1
    assert np.abs(state.numpy()).max() > 0


def test_a_slate_without_responses_was_shown_and_not_clicked(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine()
    answer = engine.recommend([ask(engine)])[0]
    engine.recommend([ask(engine, session=answer.token)])
    row = endpoint.lines()[-1]
    assert row["previous_response"] is None
    assert header.history is not None
    shown = torch.from_numpy(answer.turn.asked.offer.features[answer.drawn.slate][None])
    expected = header.history.update(header.history.initial(1), shown, torch.zeros((1, 3, 24)))
    np.testing.assert_array_equal(np.array(row["history"], np.float32), expected[0].numpy())


def test_a_token_older_than_the_gap_begins_a_new_session(
    endpoint: Endpoint, ask: Ask, header: Header, clock: Clock
) -> None:
    engine = endpoint.engine()
    first = engine.recommend([ask(engine)])[0]
    clock.now += 1800
    second = engine.recommend([again(engine, header, ask, first)])[0]
    clock.now += 1801
    engine.recommend([again(engine, header, ask, second)])
    rows = endpoint.lines()
    assert [row["step"] for row in rows] == [0, 1, 0]
    assert rows[0]["session_id"] == rows[1]["session_id"] != rows[2]["session_id"]
    assert rows[2]["previous"] == second.impression  # its responses still count
    assert rows[2]["previous_response"] is not None
    assert not any(rows[2]["history"])
    never = endpoint.engine(settings=Settings(session_gap_s=None))
    clock.now += 1e9
    never.recommend([again(never, header, ask, second)])
    assert endpoint.lines()[-1]["step"] == 2


def test_a_retry_gets_the_same_answer_from_any_replica(
    endpoint: Endpoint, ask: Ask, header: Header, clock: Clock
) -> None:
    policy = policy_of(header, 0.9)
    here, there = endpoint.engine(policy), endpoint.engine(policy)
    first = here.recommend([ask(here)])[0]
    asked = again(here, header, ask, first, request_id="once")
    one = here.recommend([asked])[0]
    clock.now += 5
    for engine in (here, there):
        two = engine.recommend([again(engine, header, ask, first, request_id="once")])[0]
        assert two.impression == one.impression
        assert two.drawn.slate.tolist() == one.drawn.slate.tolist()
        assert two.drawn.slots.tolist() == one.drawn.slots.tolist()
    other = here.recommend([again(here, header, ask, first, request_id="twice")])[0]
    assert other.impression != one.impression
    changed = again(here, header, ask, first, request_id="once", excluded=["item-0"])
    assert here.recommend([changed])[0].impression != one.impression


def test_retries_of_a_first_request_are_one_session(endpoint: Endpoint, ask: Ask) -> None:
    engine = endpoint.engine()
    answers = [engine.recommend([ask(engine, request_id=name)])[0] for name in "aab"]
    sessions = [answer.turn.identity for answer in answers]
    assert sessions[0] == sessions[1] != sessions[2]


def test_draws_of_requests_with_ids_have_the_stated_distribution(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine(baseline("random", header.spec, header.history, 3))  # type: ignore[arg-type]
    asked = [ask(engine, request_id=f"{number}", slate_size=1) for number in range(2000)]
    shown = [int(answer.drawn.slate[0]) for answer in engine.recommend(asked)]
    counts = np.bincount(shown, minlength=8)
    # 250 expected of each of 8, standard deviation 14.8.
    assert np.abs(counts - 250).max() < 4.5 * 14.8


def test_a_batch_answers_as_its_requests_alone(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine(policy_of(header, 0.3))
    first = engine.recommend([ask(engine)])[0]
    requests = [
        ask(engine, request_id="a"),
        again(engine, header, ask, first, request_id="b"),
        ask(engine, request_id="c", slate_size=2, excluded=["item-1"]),
        ask(engine, request_id="d", pinned=[{"slot": 0, "id": "item-3"}]),
        ask(engine, request_id="e"),
    ]
    together = engine.recommend(requests)
    for one, asked in zip(together, requests, strict=True):
        alone = engine.recommend([asked])[0]
        assert alone.impression == one.impression
        assert alone.drawn.slate.tolist() == one.drawn.slate.tolist()
        np.testing.assert_array_equal(alone.turn.history, one.turn.history)
    assert [row["request_id"] for row in endpoint.lines()[1:6]] == list("abcde")


def test_a_batch_of_one_shape_is_one_decision(
    endpoint: Endpoint, ask: Ask, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)
    sizes = []
    decided = policy.agent.decide

    def counting(seen: Any, size: int) -> Any:
        sizes.append(len(seen.user))
        return decided(seen, size)

    monkeypatch.setattr(policy.agent, "decide", counting)
    engine = endpoint.engine(policy)
    engine.recommend([ask(engine) for _ in range(7)])
    assert sizes == [7]


def test_arms_are_kept_for_a_session_and_split_by_weight(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    one, two = policy_of(header, 0.1), policy_of(header, 0.9)
    engine = endpoint.engine(one, two, weights=(0.75, 0.25))
    answers = engine.recommend([ask(engine) for _ in range(400)])
    seconds = sum(answer.turn.arm.name == "arm-1" for answer in answers)
    assert abs(seconds - 100) < 4.5 * 8.7  # standard deviation of 400 draws at 1/4
    following = engine.recommend([again(engine, header, ask, answer) for answer in answers])
    for before, after in zip(answers, following, strict=True):
        assert before.turn.arm is after.turn.arm
    for row, answer in zip(endpoint.lines(), answers, strict=False):
        assert row["arm"] == answer.turn.arm.name
        assert row["epsilon"] == {"arm-0": 0.1, "arm-1": 0.9}[row["arm"]]


def test_users_keep_their_arm_over_sessions_if_told(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    settings = Settings(assign_by="user")
    policies = policy_of(header), policy_of(header)
    engine = endpoint.engine(*policies, weights=(1.0, 1.0), settings=settings)

    def arms(**changes: Any) -> set[str]:
        answers = engine.recommend([ask(engine, **changes) for _ in range(30)])
        return {answer.turn.arm.name for answer in answers}

    assert len(arms(user_id="somebody")) == 1
    assert len(arms(user_id="")) == 2  # nobody in particular: by session
    by_session = endpoint.engine(*policies, weights=(1.0, 1.0))
    answers = by_session.recommend([ask(by_session, user_id="somebody") for _ in range(30)])
    assert len({answer.turn.arm.name for answer in answers}) == 2


def test_a_user_gets_a_slate_when_the_policy_fails(
    endpoint: Endpoint, ask: Ask, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)
    engine = endpoint.engine(policy)

    def broken(*_: Any) -> Any:
        raise RuntimeError("no more")

    monkeypatch.setattr(policy.agent, "decide", broken)
    pins = [{"slot": 2, "id": "item-5"}]
    answer = engine.recommend([ask(engine, pinned=pins, excluded=["item-0"])])[0]
    assert answer.drawn.slate[2] == 5
    assert 0 not in answer.drawn.slate
    row = endpoint.lines()[-1]
    assert (row["policy"], row["fallback"], row["arm"]) == ("safe_random", "error", "arm-0")
    assert row["slot_log_propensities"] == pytest.approx([-math.log(6), -math.log(5), 0])
    assert engine.metrics.values["recsim_fallbacks", ("arm-0", "error")] == 1


def test_a_retry_after_a_failure_is_another_impression(
    endpoint: Endpoint, ask: Ask, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)
    engine = endpoint.engine(policy)
    with monkeypatch.context() as patch:
        patch.setattr(policy.agent, "decide", lambda *_: 1 / 0)
        failed = [engine.recommend([ask(engine, request_id="a")])[0] for _ in range(2)]
    worked = [engine.recommend([ask(engine, request_id="a")])[0] for _ in range(2)]
    # Else feedback for one slate would count for the other.
    assert [one.impression == failed[0].impression for one in failed + worked] == [True] * 2 + [
        False
    ] * 2
    assert worked[0].impression == worked[1].impression
    for one, other in (failed, worked):
        assert one.drawn.slate.tolist() == other.drawn.slate.tolist()


def test_scores_that_are_not_finite_are_not_served(
    endpoint: Endpoint, ask: Ask, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)
    engine = endpoint.engine(policy)
    decided = policy.agent.decide

    def partly(seen: Any, size: int) -> Any:
        found = decided(seen, size)
        weights = found.log_weights.clone()
        weights[seen.user[:, 0] == 1, 3] = math.nan
        return found._replace(log_weights=weights)

    monkeypatch.setattr(policy.agent, "decide", partly)
    poison = {"user": {"interests": [1.0] * 20}}
    answers = engine.recommend([ask(engine, **poison), ask(engine)])
    assert [answer.fallback for answer in answers] == ["not_finite", ""]
    # Where the item cannot be shown, its score does not matter.
    assert engine.recommend([ask(engine, excluded=["item-3"], **poison)])[0].fallback == ""
    assert endpoint.lines()[-1]["log_weights"][3] == 0


def test_the_safe_policy_can_be_popularity(
    endpoint: Endpoint, ask: Ask, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(header)
    engine = endpoint.engine(
        policy, safe=Safe("popular", {"item-6": 10, "item-1": 99, "item-2": 5})
    )
    monkeypatch.setattr(policy.agent, "decide", lambda *_: 1 / 0)
    answer = engine.recommend([ask(engine, excluded=["item-2"], slate_size=2)])[0]
    assert answer.drawn.slate.tolist() == [1, 6]
    assert answer.policy == "safe_popular"


def test_a_full_disk_stops_the_log_and_not_the_answers(
    endpoint: Endpoint, ask: Ask, tmp_path: Any
) -> None:
    engine = endpoint.engine()
    engine.recommend([ask(engine)])
    endpoint.journals[0].impressions.append = lambda line: False  # type: ignore[method-assign]
    endpoint.journals[0].feedback.append = lambda line: False  # type: ignore[method-assign]
    assert len(engine.recommend([ask(engine)])[0].drawn.slate) == 3
    assert engine.metrics.values["recsim_log_lost", ("impressions",)] == 1
    assert engine.metrics.values["recsim_log_failing", ("impressions",)] == 1
    with pytest.raises(Refused, match="cannot be stored at present") as refused:
        engine.feedback("id", np.zeros((3, 24), np.float32))
    assert refused.value.status == 503


def test_a_history_that_would_overflow_is_refused(
    endpoint: Endpoint, ask: Ask, header: Header
) -> None:
    engine = endpoint.engine()
    answer = engine.recommend([ask(engine)])[0]
    asked = again(engine, header, ask, answer)
    asked.session.history[:] = np.finfo(np.float32).max
    asked.response[:] = np.finfo(np.float32).max
    with pytest.raises(Refused, match="history is no longer finite"):
        engine.recommend([asked])
    second = replace(asked, field="requests[1].")
    with pytest.raises(Refused) as refused:
        engine.recommend([replace(ask(engine), field="requests[0]."), second])
    assert refused.value.field == "requests[1].responses"


def test_nothing_is_answered_before_a_policy_is_loaded(endpoint: Endpoint, ask: Ask) -> None:
    engine = endpoint.engine()
    engine.live = None
    with pytest.raises(Refused, match="no policy is loaded yet") as refused:
        engine.recommend([ask(engine)])
    assert refused.value.status == 503
