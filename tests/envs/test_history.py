"""What an agent remembers, by hand and against whole sessions."""

import math

import pytest
import torch
from torch import tensor

from envs.history import History, Term
from envs.spec import FeatureSpec, number, vector

SPEC = FeatureSpec(
    user=(number("anonymous", 0, 1),),
    candidate=(vector("features", 2), number("price", 0)),
    response=(number("click", 0, 1), number("minutes", 0), vector("topic", 2)),
)
# Two documents of (features, price); responses of (click, minutes, topic).
SHOWN = tensor([[[1.0, 2.0, 5.0], [3.0, 4.0, 7.0]]])
FIRST = tensor([[[1.0, 10.0, 1.0, 0.0], [0.0, 20.0, 0.0, 1.0]]])
SECOND = tensor([[[0.0, 10.0, 1.0, 0.0], [1.0, 20.0, 0.0, 1.0]]])
NO_CLICK = FIRST * tensor([0.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # First step: the first document is clicked; then the second; then none.
        (Term("click"), [[1], [2], [2]]),
        (Term("no_click"), [[0], [0], [1]]),
        (Term("time", "sum", 0.5), [[0.5], [1], [1.5]]),
        (Term("minutes"), [[10], [30], [30]]),
        (Term("minutes", "last"), [[10], [20], [0]]),
        # 10; 10 * 0.5 + 20 = 25; 25 * 0.5 = 12.5; all times 0.1.
        (Term("minutes", 0.5, 0.1), [[1], [2.5], [1.25]]),
        (Term("price"), [[5], [12], [12]]),
        (Term("features"), [[1, 2], [4, 6], [4, 6]]),
        (Term("item", "last"), [[1, 2, 5], [3, 4, 7], [0, 0, 0]]),
        (Term("topic"), [[1, 0], [1, 1], [1, 1]]),
        # 10 * 5 = 50; 50 + 20 * 7 = 190.
        (Term("minutes*price"), [[50], [190], [190]]),
        # 10 (1, 0); 10 (1, 0) + 20 (0, 1).
        (Term("minutes*topic"), [[10, 0], [10, 20], [10, 20]]),
        (Term("log1p(minutes)", "last"), [[math.log(11)], [math.log(21)], [0]]),
    ],
)
def test_each_kind_of_term(term: Term, expected: list[list[float]]) -> None:
    history = History(SPEC, (term,))
    state = history.initial(1)
    for response, row in zip((FIRST, SECOND, NO_CLICK), expected, strict=True):
        state = history.update(state, SHOWN, response)
        torch.testing.assert_close(state, tensor([row]).float())


def test_terms_stand_side_by_side() -> None:
    history = History(SPEC, (Term("item"), Term("minutes", "last")))
    assert history.size == 4
    assert history.update(history.initial(1), SHOWN, FIRST).tolist() == [[1, 2, 5, 10]]


def test_elapsed_time_decays_traces_and_counts_as_time() -> None:
    history = History(SPEC, (Term("time"), Term("minutes", 0.5)))
    state = history.update(history.initial(1), SHOWN, FIRST)
    # Three units later: time 1 + 3; 10 * 0.5^3 + 20 = 21.25.
    for elapsed in (3.0, tensor([3.0])):
        assert history.update(state, SHOWN, SECOND, elapsed).tolist() == [[4, 21.25]]


def test_several_clicks_add_up() -> None:
    both = FIRST * tensor([0.0, 1.0, 1.0, 1.0]) + tensor([1.0, 0.0, 0.0, 0.0])
    history = History(SPEC, (Term("price"), Term("no_click")))
    assert history.update(history.initial(1), SHOWN, both).tolist() == [[12, 0]]


def test_candidates_with_slates_are_the_shown_documents() -> None:
    history = History(SPEC, (Term("item"), Term("minutes", 0.5)))
    generator = torch.Generator().manual_seed(0)
    candidates = torch.rand((4, 6, 3), generator=generator)
    slates = torch.rand((4, 6), generator=generator).topk(2).indices
    shown = candidates.gather(1, slates[:, :, None].expand(-1, -1, 3))
    response, state = FIRST.expand(4, -1, -1), torch.ones(4, history.size)
    torch.testing.assert_close(
        history.update(state, candidates, response, slates=slates),
        history.update(state, shown, response),
    )


@pytest.mark.parametrize("timed", [False, True])
def test_replay_is_the_recursion(timed: bool) -> None:
    names = ("click", "no_click", "time", "minutes*topic", "item", "log1p(price)")
    keeps = ("sum", "last", 0.9, 0.5, "sum", 0.7)
    history = History(SPEC, tuple(Term(n, k, 0.3) for n, k in zip(names, keeps, strict=True)))
    generator = torch.Generator().manual_seed(1)
    shown = torch.rand((12, 5, 2, 3), generator=generator)
    response = torch.rand((12, 5, 2, 4), generator=generator)
    chosen = torch.randint(3, (12, 5), generator=generator)
    response[..., 0] = (chosen[..., None] == torch.arange(2)).float()
    elapsed = torch.rand((12, 5), generator=generator) + 0.5 if timed else None
    states = [history.initial(5)]
    for t in range(12):
        passed = 1.0 if elapsed is None else elapsed[t]
        states.append(history.update(states[-1], shown[t], response[t], passed))
    torch.testing.assert_close(history.replay(shown, response, elapsed), torch.stack(states))


def test_an_empty_history_has_no_columns() -> None:
    history = History(SPEC, ())
    state = history.update(history.initial(3), SHOWN.expand(3, 2, 3), FIRST.expand(3, 2, 4))
    assert state.shape == (3, 0)


def test_plain_data_round_trip_and_version() -> None:
    history = History(SPEC, (Term("item", 0.5, 2.0), Term("click")))
    again = History.from_json(SPEC, history.to_json())
    assert again == history and again.version == history.version
    assert History(SPEC, (Term("item", 0.6, 2.0), Term("click"))).version != history.version


@pytest.mark.parametrize(
    ("what", "keep", "message"),
    [
        (
            "clicks",
            "sum",
            "'clicks', which is none of: time, no_click, features, price, click",
        ),
        ("sqrt(price)", "sum", "known functions are: log1p"),
        ("features*topic", "sum", "at most one factor"),
        ("click", "mean", "allowed are 'sum', 'last' and a decay"),
        ("click", 1.5, "between 0 and 1"),
    ],
)
def test_impossible_terms_are_refused(what: str, keep: str | float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        History(SPEC, (Term(what, keep),))
