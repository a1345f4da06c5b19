"""Bandits and tables of values that learn from who took what.

Shapes: n interactions, m items beside each, N items, D features, U and H columns of users
and histories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.core.fragment import Fragment, Step
from algorithms.policy import Policy
from algorithms.registry import AlgorithmEntry
from envs.history import Term
from envs.simulator import Observation, Transition
from offline.data.declaring import ColumnSection, Declared, infer
from offline.data.encoding import Encoding
from offline.data.sessions import Pool
from offline.ranking.evaluating import Scorer
from offline.ranking.policies import PolicyScorer, observed, states
from offline.ranking.reading import Catalogue
from offline.ranking.splits import Fitted
from offline.ranking.top import Floats, Ints

BESIDE = 10
"""Items beside each that was taken, m: drawn uniformly from those that anybody took."""

_TOGETHER = 1024
"""Interactions that are learned from at once."""

_KEEP = 0.9
"""Of what is remembered of a user, at each interaction."""

_BY_NUMBER = ColumnSection(type="category", encoding="embedded")

FAVOURITE, POPULARITY = "favourite_kind", "takers"


def absorb(entry: AlgorithmEntry, fitted: Fitted, settings: dict[str, object], seed: int) -> Scorer:
    """An agent that has met each interaction once, in the order of time.

    Beside what was taken, `BESIDE` others were as good as shown: a taken item gives 1 and
    what the user sees next, another one gives 0 and leaves the user where they were.

    Items have their columns, their id and how many users took them; users have theirs, and
    the group of items that they took more than others did.

    Raises:
        ValueError: the data lack what the agent's settings name.
    """
    known = described(fitted)
    encoding = encoded(known.catalogue)
    items, users, history = observed(known, encoding, encoding.history)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        agent = entry.agent(encoding.spec, encoding.history, 1, settings)
    before = states(known.taken, items, encoding.history, known.catalogue.num_users)[0]
    replay = Replay(known, items, users, before, seed)
    for fragment in replay.fragments():
        agent.absorb(agent.learn_columns(fragment))
    return PolicyScorer(Policy(agent), items, users, history)


def described(fitted: Fitted) -> Fitted:
    """The same with what is learned of items and users, as columns of their tables."""
    catalogue = fitted.catalogue
    takers = np.log1p(fitted.takers)
    items = _with(catalogue.items, POPULARITY, _texts(takers.round(6)))
    users = catalogue.users
    if catalogue.group_names:
        found = dict(zip(catalogue.user_ids.tolist(), favourites(fitted), strict=True))
        cells = [found.get(name, "") for name in users["user_id"].to_pylist()]
        users = _with(users, FAVOURITE, pa.array(cells, pa.string()))
    described = replace(catalogue, items=items, users=users)
    return Fitted(described, fitted.taken, fitted.seen)


def favourites(fitted: Fitted) -> list[str]:
    """The group that each user took most beyond the average user's share, empty for no one's."""
    groups = fitted.catalogue.groups
    taken = np.asarray(fitted.seen @ groups, np.float64)
    total = taken.sum(axis=1, keepdims=True)
    share = taken / np.where(total > 0, total, 1.0)
    beyond = share - share[total[:, 0] > 0].mean(axis=0)
    names = np.array(fitted.catalogue.group_names, object)[beyond.argmax(axis=1)]
    return list(np.where(total[:, 0] > 0, names, ""))


def encoded(catalogue: Catalogue) -> Encoding:
    """Ids as such, and other columns as they are inferred to be.

    Remembered are the kinds of what a user took, as running means.
    """
    users = dict(infer(catalogue.items, catalogue.users).users)
    if FAVOURITE in catalogue.users.column_names:
        users[FAVOURITE] = _BY_NUMBER
    number = ColumnSection(type="number", scale="standard")
    items = {**catalogue.declared, POPULARITY: number, "item_id": _BY_NUMBER}
    declared = Declared(items, users)
    encoding = Encoding.fit(declared, catalogue.items, catalogue.users)
    kinds = [feature.name for feature in encoding.spec.candidate if feature.kind == "vector"]
    return replace(encoding, terms=tuple(Term(name, _KEEP, 1 - _KEEP) for name in kinds))


def _with(table: pa.Table, name: str, cells: pa.Array) -> pa.Table:
    """A table with a column of ours, in the place of one of that name."""
    rest = table.drop_columns([name]) if name in table.column_names else table
    return rest.append_column(name, cells)


def _texts(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values.astype(str), pa.string())


@dataclass(frozen=True, eq=False)
class Replay:
    """Interactions as if each item had been shown alone.

    Attributes:
        fitted: interactions, by user and then by time.
        items: features, (N, D).
        users: features, (users, U).
        before: what was remembered before each interaction, (n, H).
        seed: of the items beside.
    """

    fitted: Fitted
    items: Floats
    users: Floats
    before: Floats
    seed: int

    def fragments(self) -> Iterator[Fragment]:
        """One step each of many users side by side: with the taken items, and with others."""
        taken = self.fitted.taken
        random = np.random.default_rng(self.seed)
        nothing = np.zeros(len(taken))
        pool = Pool.of(taken.item, nothing, self.fitted.catalogue.num_items)
        shown, place = pool.offered(taken.item, nothing, BESIDE, random)
        after = np.arange(1, len(taken) + 1)
        last = np.append(taken.user[1:] != taken.user[:-1], True)
        after[last] = np.flatnonzero(last)
        order = np.argsort(taken.time, kind="stable")
        for first in range(0, len(order), _TOGETHER):
            at = order[first : first + _TOGETHER]
            yield self._fragment(at, after[at], last[at], shown, place[at])

    def _fragment(
        self, at: Ints, after: Ints, last: NDArray[np.bool_], shown: Ints, place: Ints
    ) -> Fragment:
        width = shown.shape[1]
        # Every candidate once: the rows of an interaction, one for each.
        slot = np.tile(np.arange(width), len(at))
        now = np.repeat(at, width)
        was_taken = slot == np.repeat(place, width)
        coming = np.where(was_taken, np.repeat(after, width), now)
        taken = torch.from_numpy(was_taken)
        click = taken.float()
        ended = torch.from_numpy(was_taken & np.repeat(last, width))
        seen, following = (self._observation(rows, shown) for rows in (now, coming))
        response = torch.stack([click, click], dim=1)[:, None]
        none = torch.zeros(len(now), dtype=torch.bool)
        ends = ended.nonzero()[:, 0]
        transition = Transition(
            observation=following,
            response=response,
            reward=click,
            terminated=ended,
            truncated=none,
            finished=ends,
            final=following.map(lambda column: column[ends]),
        )
        step = Step(seen, torch.from_numpy(slot)[:, None], torch.zeros(len(now), 1), {}, transition)
        return Fragment([step], following, {}, [{}])

    def _observation(self, rows: Ints, shown: Ints) -> Observation:
        def tensor(values: Floats) -> Tensor:
            return torch.from_numpy(values)

        candidates = tensor(self.items[shown[rows]])
        return Observation(
            tensor(self.users[self.fitted.taken.user[rows]]),
            candidates,
            torch.ones(candidates.shape[:2], dtype=torch.bool),
            torch.zeros(len(rows), 1, 2),
            torch.zeros(len(rows), 1),
            tensor(self.before[rows]),
        )
