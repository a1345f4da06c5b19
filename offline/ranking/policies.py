"""Exported policies as scorers: what they would show at a user's next visit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from algorithms.policy import Policy
from algorithms.run import RunError
from envs.history import History
from envs.simulator import Observation
from offline.data.encoding import FILE, Encoding, time_of_day
from offline.data.sessions import remembered
from offline.log import LogError, open_log
from offline.ranking.evaluating import Scorer
from offline.ranking.reading import Taken
from offline.ranking.splits import Fitted, Fold
from offline.ranking.top import Floats, Ints

logger = logging.getLogger(__name__)

_CELLS = 2**22
"""Features of candidates that a network sees together."""


@dataclass(frozen=True, eq=False)
class PolicyScorer:
    """A policy's weights of all items for each user.

    Attributes:
        policy: that ranks.
        items: features of all items, (N, D).
        users: what is observed of each user, (users, U).
        history: what the policy remembers of each, (users, H).
    """

    policy: Policy
    items: Floats
    users: Floats
    history: Floats

    @torch.no_grad()
    def scores(self, users: Ints) -> Floats:
        """(B, N)."""
        count, width = self.items.shape
        size = max(1, _CELLS // (count * width))
        parts = [self._some(users[first : first + size]) for first in range(0, len(users), size)]
        return np.concatenate(parts)

    def _some(self, users: Ints) -> Floats:
        items = torch.from_numpy(self.items).expand(len(users), *self.items.shape)
        mask = torch.ones(items.shape[:2], dtype=torch.bool)
        answered = torch.zeros(len(users), 1, self.policy.spec.response_size)
        seen = Observation(
            torch.from_numpy(self.users[users]),
            items,
            mask,
            answered,
            torch.ones(len(users), 1),
            torch.from_numpy(self.history[users]),
        )
        weights = self.policy.agent.exploit(seen, self.policy.slate_size).log_weights
        return weights.float().numpy().copy()


def ranks(name: str, encoding: Path | None) -> Callable[[Fold, int], Scorer]:
    """A policy as a scorer, checked as far as it can be without data.

    Args:
        name: of its run folder or policy folder.
        encoding: folder of a log whose encoding it knows; that of its run if not given.

    Raises:
        ValueError: it is no policy, or nothing says how to make features for it.
    """
    from algorithms.evaluate import load

    policy = load(name)
    if policy is None:
        raise LogError(
            f"'{name}' is a baseline that ranks no catalogue; name a folder of that name by its "
            f"path, as ./{name}"
        )
    logs = _logs(Path(name))
    found = _encoding(name, logs, encoding)
    if found.spec != policy.spec:
        raise LogError(
            f"'{name}' expects the features {_words(policy.spec)}, but its encoding makes "
            f"{_words(found.spec)}; name the log that it learned from with --encoding"
        )

    def fit(fold: Fold, seed: int) -> Scorer:
        refuse_peeking(name, logs, fold)
        return PolicyScorer(policy, *observed(fold.fitted, found, policy.history))

    return fit


def _logs(run: Path) -> list[str]:
    """What a run learned from; nothing where that is not known."""
    from offline.learning.run import read_run

    try:
        return list(read_run(run).config.data)
    except (RunError, ValueError):
        return []


def _encoding(name: str, logs: Sequence[str], given: Path | None) -> Encoding:
    if given is not None:
        return Encoding.load(given)
    for log in logs:
        for folder in (Path(log), Path(log) / "log"):
            if (folder / FILE).exists():
                return Encoding.load(folder)
    raise LogError(
        f"nothing says how features are made for '{name}': it did not learn from a log of "
        "offline.tables, or that log is gone; name such a log with --encoding"
    )


def _words(spec: Any) -> str:
    groups = (("user", spec.user), ("candidate", spec.candidate))
    return " and ".join(
        f"{group} " + ", ".join(f"{one.name} ({one.size})" for one in features)
        for group, features in groups
    )


def observed(fitted: Fitted, encoding: Encoding, history: History) -> tuple[Floats, Floats, Floats]:
    """Features of the items, and what is seen and remembered of each user at the next visit.

    A user's interactions count as one session, which goes on; the time of day is that of
    the last one.

    Returns:
        (N, D), (users, U) and (users, H).

    Raises:
        LogError: the tables lack columns that are encoded, or hold what they cannot hold.
    """
    catalogue, taken = fitted.catalogue, fitted.taken
    encoding.refuse_other(
        catalogue.items.column_names, catalogue.users.column_names if encoding.users else None
    )
    items = encoding.encode_items(catalogue.items)
    count = np.bincount(taken.user, minlength=catalogue.num_users)
    last = np.cumsum(count) - 1
    if encoding.users:
        users = _of_users(fitted, encoding)
    else:
        users = time_of_day(np.where(count > 0, taken.time[np.maximum(last, 0)], 0.0))
    return items, users, states(taken, items, history, catalogue.num_users)[1]


def states(taken: Taken, items: Floats, history: History, users: int) -> tuple[Floats, Floats]:
    """What is remembered before each interaction, (n, H), and after each user's last, (users, H).

    Args:
        taken: interactions, by user and then by time, (n,).
        items: features, (N, D).
        history: what is remembered.
        users: how many there are; of one without interactions nothing is remembered.
    """
    count = np.bincount(taken.user, minlength=users)
    # One row more a user, whose state before it is the one after all others.
    place = np.arange(len(taken)) + taken.user
    rows = len(taken) + users
    shown = np.zeros((rows, items.shape[1]), np.float32)
    response = np.zeros((rows, 2), np.float32)
    shown[place] = items[taken.item]
    response[place, 0], response[place, 1] = 1.0, taken.weight
    found = remembered(history, shown, response, count + 1)
    return found[place], found[np.cumsum(count + 1) - 1]


def _of_users(fitted: Fitted, encoding: Encoding) -> Floats:
    catalogue = fitted.catalogue
    known = encoding.encode_users(catalogue.users)
    nothing = encoding.encode_users({encoding.users[0].name: [""]})
    ids = pa.array(catalogue.user_ids, pa.string())
    places = pc.fill_null(pc.index_in(ids, catalogue.users["user_id"]), -1)
    return np.concatenate([known, nothing])[np.asarray(places).astype(np.int64)]


def refuse_peeking(name: str, logs: Sequence[str], fold: Fold) -> None:
    """Refuse a policy that has learned from what it is to be judged by.

    Warns where that cannot be found out, because the log is gone or ids were hashed.

    Raises:
        LogError: held-out interactions stand in the log that it learned from.
    """
    try:
        log = open_log(logs) if logs else None
    except LogError:
        log = None
    if log is None or log.header.pseudonyms is not None:
        logger.warning(
            "What '%s' learned from cannot be compared with what is held out; make sure that it "
            "learned from the training part alone (--write-split).",
            name,
        )
        return
    total = int(fold.relevant.nnz)
    held = fold.relevant.tocoo()
    items = fold.fitted.catalogue.num_items
    wanted = np.sort(fold.users[held.row] * items + held.col)
    met: list[NDArray[np.int64]] = []
    for user, item in _pairs(log.batches(columns=("user_id", "slate_ids")), fold):
        key = user * items + item
        met.append(np.intersect1d(key[(user >= 0) & (item >= 0)], wanted))
    count = len(np.unique(np.concatenate(met))) if met else 0
    if count:
        raise LogError(
            f"'{name}' learned from {count:,} of the {total:,} held-out interactions; let it learn "
            "from the training part alone, which --write-split writes"
        )


def _pairs(batches: Iterator[Any], fold: Fold) -> Iterator[tuple[Ints, Ints]]:
    """Numbers of users and of the items that they were shown, slot by slot, -1 for others."""
    catalogue = fold.fitted.catalogue
    users, items = (pa.array(ids, pa.string()) for ids in (catalogue.user_ids, catalogue.item_ids))
    for rows in batches:
        shown = rows["slate_ids"]
        columns = ((np.repeat(rows["user_id"], shown.shape[1]), users), (shown.ravel(), items))
        found = (
            pc.fill_null(pc.index_in(pa.array(column, pa.string()), known), -1)
            for column, known in columns
        )
        user, item = (np.asarray(part).astype(np.int64) for part in found)
        yield user, item
