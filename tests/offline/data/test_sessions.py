"""Sessions, candidates and histories, by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from envs.history import History, Term
from envs.spec import FeatureSpec, number
from offline.data.sessions import Pool, distinct, remembered, split


def test_sessions_by_hand() -> None:
    # User 0: 0, 100, then 5000; user 1: 50 and, before it in the file, 40.
    user = np.array([0, 1, 0, 1, 0])
    time = np.array([100.0, 50.0, 0.0, 40.0, 5000.0])
    found = split(user, time, gap=1000.0)
    assert found.order.tolist() == [2, 0, 4, 3, 1]
    assert found.begins.tolist() == [0, 2, 3]
    assert found.ordinal.tolist() == [0, 1, 0]
    # The data end at 5000: only the session that was running then may have gone on.
    assert found.cut.tolist() == [False, True, False]


def test_a_pause_of_just_the_gap_ends_nothing() -> None:
    user, time = np.zeros(2, int), np.array([0.0, 10.0])
    assert split(user, time, gap=10.0).begins.tolist() == [0]
    assert split(user, time, gap=9.9).begins.tolist() == [0, 1]


def test_only_items_that_existed_are_offered() -> None:
    # Item 2 comes up at 1, item 0 at 2, item 1 at 3, item 4 at 9, item 3 never.
    item, time = np.array([2, 0, 1, 4, 2]), np.array([1.0, 2.0, 3.0, 9.0, 4.0])
    pool = Pool.of(item, time, 5)
    assert pool.items.tolist() == [2, 0, 1, 4]
    taken, when = np.full(300, 0), np.full(300, 5.0)
    candidates, place = pool.offered(taken, when, 1, np.random.default_rng(0))
    assert (candidates[np.arange(300), place] == 0).all()
    others = Counter(candidates[np.arange(300), 1 - place].tolist())
    assert set(others) == {1, 2} and min(others.values()) > 110
    assert 110 < place.sum() < 190
    # Not enough had come up: the first ones that did are taken.
    early, _ = pool.offered(np.array([2]), np.array([1.0]), 2, np.random.default_rng(0))
    assert sorted(early[0].tolist()) == [0, 1, 2]
    # There are only three others at all.
    assert pool.offered(np.array([2]), np.array([9.0]), 50, np.random.default_rng(0))[0].size == 4


def test_sets_are_drawn_uniformly() -> None:
    found = distinct(np.full(60_000, 5), 2, np.random.default_rng(1))
    sets = Counter(tuple(sorted(row)) for row in found.tolist())
    assert len(sets) == 10  # 5 choose 2, each with 6,000 expected and a deviation of 73
    assert all(5_700 < count < 6_300 for count in sets.values())


def test_histories_are_those_of_the_simulator() -> None:
    spec = FeatureSpec(
        (number("age"),), (number("x"), number("y")), (number("click"), number("weight"))
    )
    history = History(spec, (Term("item", 0.8), Term("weight", "last"), Term("time")))
    random = np.random.default_rng(0)
    lengths = np.array([2, 5, 1])
    shown = random.standard_normal((8, 2)).astype(np.float32)
    response = np.stack([np.ones(8), random.random(8)], axis=1).astype(np.float32)
    found = remembered(history, shown, response, lengths)
    for start, length in zip((0, 2, 7), lengths, strict=True):
        part = slice(start, start + length)
        whole = history.replay(
            torch.from_numpy(shown[part])[:, None, None],
            torch.from_numpy(response[part])[:, None, None],
        )
        assert np.allclose(found[part], whole[:-1, 0], atol=1e-6)
    # The second row of the first session, by hand: what the first one showed.
    assert found[1].tolist() == [*shown[0].tolist(), response[0, 1], 1.0]
