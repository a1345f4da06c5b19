"""Similarities by hand, and scorers that must find what they are for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from algorithms.registry import algorithm
from offline.ranking.absorbing import absorb, described, encoded, favourites
from offline.ranking.evaluating import Measured, evaluate
from offline.ranking.reading import read
from offline.ranking.scorers import KINDS, nearest_items
from offline.ranking.splits import Fitted, Fold, fold, split
from tests.offline.ranking.tables import movielens


def test_similarity_is_a_shrunk_cosine() -> None:
    # Takers: item 0 of users 0 1 2 3; item 1 of 0 1; item 2 of 3; item 3 of nobody.
    seen = csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0]], float))
    found = nearest_items(seen, neighbours=3, shrinkage=2.0).toarray()
    first, second = 2 / (np.sqrt(4 * 2) + 2), 1 / (np.sqrt(4 * 1) + 2)
    expected = [[0, first, second, 0], [first, 0, 0, 0], [second, 0, 0, 0], [0, 0, 0, 0]]
    assert found == pytest.approx(np.array(expected))
    # Only the most similar one: item 2 still has item 0, which has item 1.
    nearest = nearest_items(seen, neighbours=1, shrinkage=2.0).toarray()
    expected = [[0, first, 0, 0], [first, 0, 0, 0], [second, 0, 0, 0], [0, 0, 0, 0]]
    assert nearest == pytest.approx(np.array(expected))


def test_what_a_user_took_beyond_others(tmp_path: Path) -> None:
    catalogue, taken = read(movielens(tmp_path))
    # Groups: 10 comedy, 20 drama, 30 both, 40 none, 9 drama; all interactions count here.
    #   user 1: 10 20 30 40: 2 comedy, 2 drama; 2 and 4: 10 20 30: the same
    #   user 3: 10 30: 2 comedy, 1 drama; 5: 10 20: one each
    found = favourites(Fitted.of(catalogue, taken))
    # The mean share of comedy is (4 * 1/2 + 2/3) / 5 > 1/2, so all but user 3 lean to drama.
    by_user = dict(zip(catalogue.user_ids, found, strict=True))
    assert by_user == {"1": "Drama", "2": "Drama", "3": "Comedy", "4": "Drama", "5": "Drama"}


def test_what_is_learned_of_items_and_users_becomes_features(tmp_path: Path) -> None:
    catalogue, taken = read(movielens(tmp_path))
    known = described(Fitted.of(catalogue, taken.rows(slice(0, 7)))).catalogue
    # Users 1 and 2: 10, 20 and 30 twice, 40 once, 9 never: ln(1 + takers).
    assert known.items["takers"].to_pylist() == [
        str(round(float(np.log1p(count)), 6)) for count in (0, 2, 2, 2, 1)
    ]
    # Columns of those names give way.
    twice = replace(catalogue, users=known.users, items=known.items)
    again = described(Fitted.of(twice, taken.rows(slice(0, 7)))).catalogue
    assert again.users == known.users and again.items == known.items
    spec = encoded(known).spec
    kinds = {feature.name: feature.kind for feature in (*spec.user, *spec.candidate)}
    assert kinds["item_id"] == kinds["favourite_kind"] == "id" and kinds["takers"] == "number"


def worlds(tmp_path: Path, sizes: tuple[int, int] = (150, 60)) -> Fold:
    """Two kinds of users who take two kinds of items, a few of them more than the others."""
    random = np.random.default_rng(0)
    users, items = sizes
    half = items // 2
    weights = 1.0 / np.arange(1, half + 1)
    rows = ["userId,movieId,rating,timestamp"]
    for user in range(users):
        chosen = random.choice(half, 12, replace=False, p=weights / weights.sum())
        for time, item in enumerate(chosen + half * (user % 2)):
            rows.append(f"{user},{item},1,{time * 1000 + user}")
    films = ["movieId,title,genres"]
    films += [f"{item},Film {item} (1990),{('Cat', 'Dog')[item >= half]}" for item in range(items)]
    texts = {"ratings": "\n".join(rows) + "\n", "movies": "\n".join(films) + "\n"}
    catalogue, taken = read(movielens(tmp_path, **texts))
    return fold(catalogue, taken, split(taken, "leave-last-out", 0.2), "test")


def measured(name: str, found: Fold, **settings: object) -> Measured:
    if name in KINDS:
        scorer = KINDS[name].fit(found.fitted, KINDS[name].settings(**settings), 0)
    else:
        options = algorithm(name).settings(**settings).model_dump(mode="json")
        scorer = absorb(algorithm(name), found.fitted, options, 0)
    return evaluate(scorer, found, 5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("item_knn", {}),
        ("als", {"factors": 4}),
        ("bpr", {"factors": 4}),
        ("linucb", {"context": ["one", "item", "history*item"]}),
        (
            "q_learning",
            {
                "lr": 0.05,
                "gamma": 0.5,
                "state": [{"feature": "favourite_kind"}],
                "item": [{"feature": "item_id"}],
            },
        ),
    ],
)
def test_who_took_what_tells_users_apart(
    tmp_path: Path, name: str, settings: dict[str, object]
) -> None:
    """18 unseen items of the user's kind, 30 of the other: those who know get 5 of 18 and more."""
    found = worlds(tmp_path)
    popular = measured("popularity", found).values["recall"]
    recall = measured(name, found, **settings).values["recall"]
    assert popular is not None and recall is not None
    # Popularity alone spends half of its places on the other kind.
    assert recall > 1.4 * popular and recall > 5 / 18


def test_a_bandit_of_arms_ranks_by_popularity(tmp_path: Path) -> None:
    found = worlds(tmp_path)
    options = {"feedback": "click", "arm_feature": "item_id", "prior_failures": 20.0}
    ours = measured("thompson_beta", found, **options).values["recall"]
    popular = measured("popularity", found).values["recall"]
    assert ours == pytest.approx(popular, rel=0.3)
