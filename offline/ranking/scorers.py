"""Scorers that learn from who took what: popularity, neighbours, factors, and chance.

Shapes: B users, N items, F factors.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from algorithms.layers import Section
from offline.log import LogError
from offline.ranking.evaluating import Scorer
from offline.ranking.splits import Fitted
from offline.ranking.top import Floats, Ints, top_k

_CELLS = 2**22
"""Similarities that are worked out together."""


class Nothing(Section):
    """No settings."""


class ItemKNNSettings(Section):
    """Item-kNN.

    Attributes:
        neighbours: of each item, the most similar ones.
        shrinkage: added to the product of lengths; large values distrust similarities
            that few users speak for.
    """

    neighbours: int = Field(100, ge=1)
    shrinkage: float = Field(10.0, ge=0)


class ALSSettings(Section):
    """Alternating least squares of `implicit`.

    Attributes:
        factors: of each user and item, F.
        regularization: of the factors.
        alpha: weight of what was taken, over 1 for what was not.
        iterations: of both sides.
    """

    factors: int = Field(32, ge=1)
    regularization: float = Field(0.1, ge=0)
    alpha: float = Field(1.0, gt=0)
    iterations: int = Field(15, ge=1)


class BPRSettings(Section):
    """Bayesian personalised ranking of `implicit`.

    Attributes:
        factors: of each user and item, F.
        learning_rate: of a step.
        regularization: of the factors.
        iterations: passes over the interactions.
    """

    factors: int = Field(32, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    regularization: float = Field(0.01, ge=0)
    iterations: int = Field(100, ge=1)


@dataclass(frozen=True, eq=False)
class Same:
    """The same scores, (N,), for everybody."""

    score: Floats

    def scores(self, users: Ints) -> Floats:
        """(B, N)."""
        return np.repeat(self.score[None], len(users), axis=0)


@dataclass(frozen=True, eq=False)
class Chance:
    """Scores drawn uniformly, by the seed and the user alone."""

    items: int
    seed: int

    def scores(self, users: Ints) -> Floats:
        """(B, N)."""
        drawn = [
            np.random.default_rng([self.seed, user]).random(self.items, np.float32)
            for user in users.tolist()
        ]
        return np.stack(drawn)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Sums of similarities to what the user took.

    Attributes:
        seen: (users, N).
        similarity: of item j for item i in row j, column i, (N, N).
    """

    seen: csr_matrix
    similarity: csr_matrix

    def scores(self, users: Ints) -> Floats:
        """(B, N)."""
        return np.asarray((self.seen[users] @ self.similarity).toarray(), np.float32)


@dataclass(frozen=True, eq=False)
class Factors:
    """Products of users' factors, (users, F), and items', (N, F)."""

    users: Floats
    items: Floats

    def scores(self, users: Ints) -> Floats:
        """(B, N)."""
        return self.users[users] @ self.items.T


def popularity(fitted: Fitted, settings: Nothing, seed: int) -> Scorer:
    """How many users took an item."""
    return Same(fitted.takers.astype(np.float32))


def chance(fitted: Fitted, settings: Nothing, seed: int) -> Scorer:
    """Any item as well as any other."""
    return Chance(fitted.catalogue.num_items, seed)


def item_knn(fitted: Fitted, settings: ItemKNNSettings, seed: int) -> Scorer:
    """Items that the takers of the user's items took, too.

    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation
    algorithms, with the shrunk cosine of Ferrari Dacrema et al. (2019), arXiv:1907.06902.
    """
    table = nearest_items(fitted.seen, settings.neighbours, settings.shrinkage)
    return Neighbours(fitted.seen, table.T.tocsr())


def nearest_items(seen: csr_matrix, neighbours: int, shrinkage: float) -> csr_matrix:
    """Each item's most similar others, in its row, (N, N).

    The similarity of i and j is n_ij / (sqrt(n_i n_j) + shrinkage), with n_ij users who
    took both and n_i who took i.

    Args:
        seen: 1 where a user took an item, (users, N).
        neighbours: of an item, at most.
        shrinkage: see above.
    """
    items = seen.shape[1]
    by_item = seen.T.tocsr()
    length = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
    size, count = max(1, _CELLS // items), min(neighbours, items)
    rows, columns, values = [], [], []
    for first in range(0, items, size):
        both = (by_item[first : first + size] @ seen).toarray()
        own = np.arange(first, first + len(both))
        both[np.arange(len(both)), own] = 0.0
        divisor = length[own][:, None] * length[None] + np.float32(shrinkage)
        similarity = np.divide(both, divisor, out=np.full_like(both, -np.inf), where=both > 0)
        found = top_k(similarity, count)
        row, place = np.nonzero(found >= 0)
        rows.append(own[row])
        columns.append(found[row, place])
        values.append(similarity[row, columns[-1]])
    parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_matrix(parts, shape=(items, items))


def als(fitted: Fitted, settings: ALSSettings, seed: int) -> Scorer:
    """Factors whose products are near 1 where an item was taken, and near 0 elsewhere.

    Source: Hu, Koren and Volinsky (2008), Collaborative filtering for implicit feedback.
    """
    return _factors("als:AlternatingLeastSquares", fitted, settings, seed)


def bpr(fitted: Fitted, settings: BPRSettings, seed: int) -> Scorer:
    """Factors that rank what was taken above what was not.

    Source: Rendle et al. (2009), arXiv:1205.2618.
    """
    return _factors("bpr:BayesianPersonalizedRanking", fitted, settings, seed)


def _factors(where: str, fitted: Fitted, settings: Section, seed: int) -> Scorer:
    module, name = where.split(":")
    try:
        kind = getattr(importlib.import_module(f"implicit.cpu.{module}"), name)
        base = importlib.import_module("implicit.recommender_base")
    except ModuleNotFoundError:
        raise LogError(
            f"{module} needs the package implicit, which is not installed; install it with: "
            "pip install 'rllib-recsim[rank]'"
        ) from None
    # One thread, since several would make the numbers depend on who comes first.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kind(**settings.model_dump(), random_state=seed, num_threads=1)
        try:
            model.fit(fitted.seen, show_progress=False)
        except base.ModelFitError:
            raise LogError(
                f"{module} found no finite factors; lower its learning rate or raise its "
                "regularization with --set"
            ) from None
    return Factors(_as_array(model.user_factors), _as_array(model.item_factors))


def _as_array(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Kind:
    """A scorer by name.

    Attributes:
        settings: its settings, as a strict model.
        fit: learns from interactions; the seed is of whatever it draws.
        summary: one line for `--list`.
    """

    settings: type[Section]
    fit: Callable[[Fitted, Any, int], Scorer]
    summary: str


KINDS = {
    "popularity": Kind(Nothing, popularity, "users who took an item"),
    "random": Kind(Nothing, chance, "any item as well as any other"),
    "item_knn": Kind(ItemKNNSettings, item_knn, "items that the takers of the user's items took"),
    "als": Kind(ALSSettings, als, "matrix factorisation by alternating least squares (implicit)"),
    "bpr": Kind(BPRSettings, bpr, "matrix factorisation by pairwise ranking (implicit)"),
}
"""By their names on the command line."""
