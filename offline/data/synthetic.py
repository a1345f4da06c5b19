"""Tables of simulated users, for those who have no data: interest evolution, played at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.interest_evolution import WORLD
from envs.noise import Draws
from envs.simulator import TorchSimulator
from envs.world import State
from offline.log import LogError
from offline.log.files import write_whole

ITEMS, VISIT = 200, 12
"""Items in all, and slates after which a user pauses for a day."""

_TOPIC_SEED = 7
_START = 1_767_225_600.0  # 1 January 2026, UTC
_MINUTE, _DAY = 60.0, 86_400.0


class CatalogueWorld(WORLD):
    """Interest evolution whose candidates are drawn from a list of items that stays."""

    def __init__(self, topic_of_item: NDArray[np.int64], num_topics: int) -> None:
        """With the topic of each item."""
        super().__init__(num_topics=num_topics)
        self._topic_of_item = torch.from_numpy(topic_of_item)

    def new_candidates(self, state: State, draws: Draws) -> State:
        """Items (B, N) int64, different ones, and their topics."""
        items = draws.uniform(_TOPIC_SEED, len(self._topic_of_item)).argsort(dim=1)
        items = items[:, : self.num_candidates]
        return {"item": items, "topic": self._topic_of_item[items]}


@torch.no_grad()
def write_tables(folder: Path, users: int, seed: int) -> tuple[Path, Path, Path]:
    """Simulate, and write interactions.csv, items.csv and users.csv; the same for the same seed.

    Args:
        folder: to write to.
        users: how many, at least 1.
        seed: of their luck.

    Raises:
        LogError: no users, or the disk is full.
    """
    if users < 1:
        raise LogError(f"--synthetic-users is {users}; there must be at least 1")
    random = np.random.default_rng(seed)
    topics = 20
    topic = random.permutation(np.arange(ITEMS) % topics)
    simulator = TorchSimulator(CatalogueWorld(topic, topics), users, seed=seed, replace=False)
    clicks = _play(simulator, random)
    began = _START + random.random(users) * 14 * _DAY
    who, step, item, minutes = clicks.T
    time = began[who.astype(int)] + step * 4 * _MINUTE + np.floor(step / VISIT) * _DAY
    interactions = pa.table(
        {
            "user_id": _named("u", who),
            "item_id": _named("i", item),
            "timestamp": pa.array(np.round(time).astype(np.int64)),
            "weight": pa.array(np.round(minutes, 3)),
        }
    )
    items = pa.table(
        {
            "item_id": _named("i", np.arange(ITEMS)),
            "topic": _named("topic-", topic),
            "length": pa.array(np.round(random.uniform(2, 60, ITEMS), 1)),
            "title": _named("Film number ", np.arange(ITEMS)),
        }
    )
    people = pa.table({"user_id": _named("u", np.arange(users)), **_interests(simulator, users)})
    paths = []
    tables = {"interactions": interactions, "items": items, "users": people}
    for name, table in tables.items():
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(table, sink)
        paths.append(folder / f"{name}.csv")
        write_whole(paths[-1], sink.getvalue().to_pybytes())
    return paths[0], paths[1], paths[2]


def _play(simulator: TorchSimulator, random: np.random.Generator) -> NDArray[np.float64]:
    """Clicks on random slates until all have left: user, step, item, minutes, (clicks, 4)."""
    users, slots = simulator.num_users, simulator.slate_size
    spec = simulator.spec
    click, watched = (spec.response_slice(name).start for name in ("click", "watch_time"))
    simulator.reset(torch.arange(users))
    playing: NDArray[Any] = np.ones(users, np.bool_)
    found = []
    step = 0
    while playing.any():
        noise = random.random((users, simulator.num_candidates))
        slates = torch.from_numpy(noise.argsort(axis=1)[:, :slots])
        shown: Tensor = simulator.state["item"].gather(1, slates)
        transition = simulator.step(slates)
        response = transition.response.numpy()
        who, slot = np.nonzero((response[..., click] > 0) & playing[:, None])
        minutes = response[who, slot, watched]
        parts = (who, np.full(len(who), step), shown.numpy()[who, slot], minutes)
        found.append(np.stack(parts, axis=1).astype(np.float64))
        playing &= ~transition.terminated.numpy()
        step += 1
    return np.concatenate(found)


def _interests(simulator: TorchSimulator, users: int) -> dict[str, pa.Array]:
    """What a shop might know of its users: what they came for."""
    first = simulator.reset(torch.arange(users)).user.numpy()
    return {
        "favourite": _named("topic-", first.argmax(axis=1)),
        "openness": pa.array(np.round(first.mean(axis=1), 3)),
    }


def _named(prefix: str, numbers: NDArray[Any]) -> pa.Array:
    return pa.array(np.char.add(prefix, numbers.astype(int).astype(str)))
