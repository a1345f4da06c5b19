"""What a bandit sees of a candidate: its arm, and its context as one vector.

Shapes: B users, N items (candidates, or those shown), d columns of the context.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from algorithms.core.affinity import check_appeal, scores
from envs.history import History
from envs.spec import Feature, FeatureSpec

_PER_USER = ("one", "user", "history")


class Arms:
    """Arms named by a candidate feature: the column that holds a one, or an id.

    Attributes:
        feature: the candidate feature.
        count: A.
    """

    def __init__(self, spec: FeatureSpec, name: str | None) -> None:
        """Find the feature.

        Args:
            spec: features of the world.
            name: of a candidate feature; the first one-hot feature or id if
                not given, or else the first vector.

        Raises:
            ValueError: there is none, or it is a number.
        """
        self.feature = self._named(spec, name) if name is not None else self._first(spec)
        self._columns = spec.candidate_slice(self.feature.name)
        of_ids = self.feature.kind == "id"
        self.count = int(self.feature.high) + 1 if of_ids else self.feature.size

    @staticmethod
    def _named(spec: FeatureSpec, name: str) -> Feature:
        features = {feature.name: feature for feature in spec.candidate}
        if name not in features:
            raise ValueError(
                f"arm_feature is '{name}', which candidates do not have; there are: "
                f"{', '.join(features)}"
            )
        feature = features[name]
        if feature.kind == "number":
            raise ValueError(
                f"arm_feature is '{name}', a number; arms are told apart by a one-hot candidate "
                "feature or an id"
            )
        return feature

    @staticmethod
    def _first(spec: FeatureSpec) -> Feature:
        for kinds in (("one_hot", "id"), ("vector",)):
            for feature in spec.candidate:
                if feature.kind in kinds:
                    return feature
        raise ValueError(
            "no candidate feature tells arms apart (none is one-hot or an id), so a bandit with "
            "an estimate for each arm cannot learn here; use one whose model is shared, such as "
            "linucb"
        )

    def index(self, items: Tensor) -> Tensor:
        """The arm of each item, (...) int64 of (..., D); -1 where it is unknown."""
        columns = items[..., self._columns]
        if self.feature.kind == "id":
            place = columns.squeeze(-1).long()
            return torch.where((place >= 0) & (place < self.count), place, -1)
        value, place = columns.max(dim=-1)
        return torch.where(value > 0, place, -1)

    def check(self, items: Tensor) -> None:
        """Refuse items whose feature is no one-hot vector or whole number, (..., D).

        Raises:
            ValueError: says what was found.
        """
        columns = items[..., self._columns]
        if self.feature.kind == "id":
            fine = (columns == columns.round()) & (columns >= -1) & (columns < self.count)
            expected = f"whole numbers from -1 (unknown) to {self.count - 1}"
        else:
            fine = ((columns == 0) | (columns == 1)) & (columns.sum(-1, keepdim=True) <= 1)
            expected = "zeros and at most a single one, the arm"
        if not bool(fine.all()):
            wrong = columns.flatten(0, -2)[(~fine).any(-1).flatten()][0].tolist()
            raise ValueError(
                f"the candidate feature '{self.feature.name}' should hold {expected}, but one "
                f"item has {wrong}; name another as arm_feature"
            )


class Context:
    """The context vector, declared as terms.

    A term is a product `a*b` of `one`, `user` and `item` (all of their columns
    but ids), `history`, `appeal`, and features by name; a product of features
    with several columns has a column for each combination.

    Attributes:
        size: d, without ids.
        per_user: whether no term depends on the item.
    """

    def __init__(self, spec: FeatureSpec, history: History, terms: Sequence[str]) -> None:
        """Lay out the columns.

        Raises:
            ValueError: a term that names nothing, or no terms.
        """
        if not terms:
            raise ValueError("context is empty; name at least one term, such as 'one'")
        self.spec, self.history = spec, history
        self._terms = [tuple(name.strip() for name in term.split("*")) for term in terms]
        self._users = {feature.name: spec.user_slice(feature.name) for feature in spec.user}
        self._items = {f.name: spec.candidate_slice(f.name) for f in spec.candidate}
        self._user_columns, self._item_columns = _but_ids(spec.user), _but_ids(spec.candidate)
        for name in {name for term in self._terms for name in term}:
            self._check(name)
        self.per_user = all(self._of_user(name) for term in self._terms for name in term)
        user, items = torch.zeros(1, spec.user_size), torch.zeros(1, 1, spec.candidate_size)
        self.size = self(user, items, torch.zeros(1, history.size)).shape[2]

    def _of_user(self, name: str) -> bool:
        return name in _PER_USER or (name in self._users and name not in self._items)

    def _check(self, name: str) -> None:
        if name == "appeal":
            check_appeal(self.spec)
            return
        allowed = [*_PER_USER, "item", "appeal", *self._users, *self._items]
        if name not in allowed:
            raise ValueError(f"context names '{name}', which is none of: {', '.join(allowed)}")
        if name in self._users and name in self._items:
            raise ValueError(
                f"context names '{name}', a feature of users and of candidates; use 'user' or "
                "'item' instead"
            )
        ids = [f.name for f in (*self.spec.user, *self.spec.candidate) if f.kind == "id"]
        if name in ids:
            raise ValueError(
                f"context names '{name}', an id, which is no quantity; neural_linear learns an "
                "embedding of ids, and arm_feature may name one"
            )

    def __call__(self, user: Tensor, items: Tensor, history: Tensor) -> Tensor:
        """The contexts.

        Args:
            user: (B, U).
            items: (B, N, D).
            history: (B, H).

        Returns:
            (B, N, d); (B, 1, d) where it depends on the user alone.
        """
        terms = []
        for names in self._terms:
            product = self._factor(names[0], user, items, history)
            for name in names[1:]:
                factor = self._factor(name, user, items, history)
                product = (product[..., :, None] * factor[..., None, :]).flatten(2)
            terms.append(product)
        width = max(term.shape[1] for term in terms)
        return torch.cat([term.expand(-1, width, -1) for term in terms], dim=2)

    def _factor(self, name: str, user: Tensor, items: Tensor, history: Tensor) -> Tensor:
        if name == "one":
            return user.new_ones((len(user), 1, 1))
        if name == "user":
            return user[:, None, self._user_columns]
        if name == "history":
            return history[:, None]
        if name == "item":
            return items[..., self._item_columns]
        if name == "appeal":
            return scores(self.spec, user, items)[..., None]
        if name in self._users:
            return user[:, None, self._users[name]]
        return items[..., self._items[name]]


def _but_ids(features: tuple[Feature, ...]) -> slice | list[int]:
    """Columns of a feature group without its ids; where there are none, a slice copies nothing."""
    kinds = [feature.kind for feature in features for _ in range(feature.size)]
    if "id" not in kinds:
        return slice(None)
    return [column for column, kind in enumerate(kinds) if kind != "id"]


def default_terms(spec: FeatureSpec, per_arm: bool) -> tuple[str, ...]:
    """Terms that suit a linear model of any world: one shared, or one an arm.

    Where a world declares an appeal, it stands for the features that it is made of.
    """
    if per_arm:
        return ("one", "user")
    if spec.appeal is None:
        return ("one", "item", "user*item")
    known = {feature.name for feature in spec.user} | {spec.appeal[1]}
    others = [f.name for f in spec.candidate if f.name not in known and f.kind != "id"]
    return ("one", "appeal", *others)


def all_terms(spec: FeatureSpec, history: History, per_arm: bool) -> tuple[str, ...]:
    """All that there is, for a model that finds out by itself what matters."""
    appeal = () if spec.appeal is None else ("appeal",)
    of_items = () if per_arm else ("item", *appeal)
    return (*of_items, "user", *(("history",) if history.size else ()))
