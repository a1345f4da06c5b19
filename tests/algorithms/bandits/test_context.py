"""Arms and context vectors of declared features."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import tensor

from algorithms.bandits.context import Arms, Context, all_terms, default_terms
from envs.history import History, Term
from envs.spec import FeatureSpec, identifier, number, vector


def test_the_arm_is_the_column_with_a_one(spec, items) -> None:
    arms = Arms(spec, None)
    assert (arms.feature.name, arms.count) == ("topic", 3)
    assert arms.index(items([2, 0, -1])).tolist() == [2, 0, -1]


def test_ids_are_arms_and_strange_ones_are_unknown(spec, items) -> None:
    arms = Arms(spec, "author")
    assert arms.count == 5
    offered = torch.cat([items([0], author=number) for number in (0, 4, -1, 5, 77)])
    assert arms.index(offered).tolist() == [0, 4, -1, -1, -1]


def test_a_vector_may_name_arms_if_nothing_better_does() -> None:
    spec = FeatureSpec((number("u"),), (number("price"), vector("kind", 2)), (number("click"),))
    assert Arms(spec, None).index(tensor([[9.0, 0.0, 1.0]])).tolist() == [1]


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("topic", [0.5, 0.5, 0.0, 0.0, 0.0], r"'topic' should hold zeros and at most a single one"),
        ("topic", [1.0, 1.0, 0.0, 0.0, 0.0], r"but one item has \[1.0, 1.0, 0.0\]"),
        ("author", [1.0, 0.0, 0.0, 0.0, 1.5], r"whole numbers from -1 \(unknown\) to 4"),
    ],
)
def test_items_without_a_proper_arm_are_refused(spec, name, wrong, says) -> None:
    arms = Arms(spec, name)
    arms.check(tensor([[1.0, 0.0, 0.0, 3.5, 4.0]]))
    with pytest.raises(ValueError, match=says):
        arms.check(tensor([[1.0, 0.0, 0.0, 0.0, 0.0], wrong]))


def test_worlds_without_arms_are_refused(spec) -> None:
    with pytest.raises(ValueError, match="'price', a number; arms are told apart by"):
        Arms(spec, "price")
    with pytest.raises(
        ValueError, match="'brand', which candidates do not have; there are: topic, price"
    ):
        Arms(spec, "brand")
    lonely = FeatureSpec((number("u"),), (number("price"),), (number("click"),))
    with pytest.raises(ValueError, match="no candidate feature tells arms apart"):
        Arms(lonely, None)


def test_terms_by_hand(spec, items) -> None:
    history = History(spec, (Term("click"),))
    user, past = tensor([[2.0, 3.0, 0.5]]), tensor([[7.0]])
    offered = items([1], price=4.0, author=2)[None]

    def context(*terms: str) -> list[float]:
        return Context(spec, history, terms)(user, offered, past)[0, 0].tolist()

    assert context("one", "user") == [1.0, 2.0, 3.0, 0.5]
    assert context("item") == [0.0, 1.0, 0.0, 4.0]  # without the author's number
    assert context("history", "price*hour") == [7.0, 2.0]
    # (2, 3) by topic: each taste with each topic.
    assert context("taste*topic") == [0.0, 2.0, 0.0, 0.0, 3.0, 0.0]


def test_the_appeal_is_a_term_where_the_world_declares_one() -> None:
    spec = FeatureSpec(
        (vector("taste", 2),), (vector("kind", 2),), (number("click"),), ("taste", "kind")
    )
    context = Context(spec, History(spec, ()), ("appeal",))
    found = context(tensor([[2.0, 3.0]]), tensor([[[1.0, 0.0], [1.0, 1.0]]]), torch.zeros(1, 0))
    assert found[0, :, 0].tolist() == [2.0, 5.0]
    assert default_terms(spec, per_arm=False) == ("one", "appeal")
    priced = FeatureSpec(
        spec.user,
        (*spec.candidate, number("price"), identifier("id", 9)),
        spec.response,
        spec.appeal,
    )
    assert default_terms(priced, per_arm=False) == ("one", "appeal", "price")


def test_a_network_gets_all_that_there_is(spec) -> None:
    remembers = History(spec, (Term("click", "sum"),))
    assert all_terms(spec, remembers, per_arm=False) == ("item", "user", "history")
    assert all_terms(spec, History(spec, ()), per_arm=True) == ("user",)
    declared = replace(spec, appeal=(None, "price"))
    assert all_terms(declared, remembers, per_arm=False) == ("item", "appeal", "user", "history")


def test_contexts_of_users_alone_are_computed_once(spec, items) -> None:
    history = History(spec, ())
    shared = Context(spec, history, default_terms(spec, per_arm=False))
    own = Context(spec, history, default_terms(spec, per_arm=True))
    assert (shared.per_user, own.per_user) == (False, True)
    user, offered, past = torch.ones(1, 3), items([0, 1])[None], torch.zeros(1, 0)
    assert shared(user, offered, past).shape == (1, 2, 1 + 4 + 3 * 4)
    assert own(user, offered, past).shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (("brand",), "context names 'brand', which is none of: one, user, history, item, appeal"),
        (("author",), "context names 'author', an id, which is no quantity"),
        (("appeal",), "declares no appeal"),
        ((), "context is empty"),
    ],
)
def test_impossible_terms_are_refused(spec, terms, says) -> None:
    with pytest.raises(ValueError, match=says):
        Context(spec, History(spec, ()), terms)


def test_a_name_that_users_and_items_share_is_refused() -> None:
    spec = FeatureSpec((number("age"),), (number("age"),), (number("click"),))
    with pytest.raises(ValueError, match="'age', a feature of users and of candidates"):
        Context(spec, History(spec, ()), ("age",))


def test_ids_are_whole_numbers_in_one_column() -> None:
    assert identifier("author", 5).high == 4.0
    with pytest.raises(ValueError, match="ids are one column of whole numbers"):
        identifier("author", 2**24 + 1)
