from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algorithms.core.agent import Exploration
from algorithms.policy import Policy, baseline
from envs.registry import make_simulator
from offline.log.schema import Header
from serve.asking import Catalogue
from serve.engine import Engine
from serve.journal import Journal
from serve.keys import Keys
from serve.live import Arm, Live
from serve.safe import Safe
from serve.schemas import example_request, make_schemas
from serve.settings import Settings

KEYS = Keys([b"a secret of the tests"])


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def header() -> Header:
    simulator = make_simulator(name="interest_evolution", num_users=1)
    return Header(spec=simulator.spec, history=simulator.history, reward=simulator.reward_name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def policy_of(header: Header, epsilon: float = 0.2, temperature: float = 0.0) -> Policy:
    """Click maximiser that explores."""
    assert header.history is not None
    policy = baseline("click_maximiser", header.spec, header.history, 3)
    policy.exploration = Exploration(epsilon, temperature)
    return policy


class Endpoint:
    """An engine with its files."""

    def __init__(self, folder: Path, header: Header, clock: Clock) -> None:
        self.folder, self.header, self._clock = folder, header, clock
        self.journals: list[Journal] = []

    def engine(
        self,
        *policies: Policy,
        settings: Settings | None = None,
        weights: tuple[float, ...] = (1.0,),
        safe: Safe | None = None,
        keys: Keys = KEYS,
        catalogue: Catalogue | None = None,
    ) -> Engine:
        chosen = settings or Settings()
        journal = Journal(self.folder, f"{len(self.journals):08x}", chosen.log)
        self.journals.append(journal)
        engine = Engine(
            self.header, keys, chosen, journal, safe=safe, catalogue=catalogue, clock=self._clock
        )
        found = policies or (policy_of(self.header),)
        names = [f"arm-{number}" for number in range(len(found))]
        engine.live = Live(
            1,
            tuple(
                Arm(name, weight, policy, f"{name}-1")
                for name, weight, policy in zip(names, weights, found, strict=True)
            ),
            "salt",
        )
        return engine

    def lines(self, kind: str = "impressions") -> list[dict[str, Any]]:
        """What was logged, in order."""
        texts = [path.read_text() for path in sorted(self.folder.glob(f"{kind}-*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture
def endpoint(tmp_path: Path, header: Header, clock: Clock) -> Iterator[Endpoint]:
    found = Endpoint(tmp_path, header, clock)
    yield found
    for journal in found.journals:
        journal.close()


Ask = Callable[..., Any]


@pytest.fixture
def ask(header: Header) -> Ask:
    """A request as an engine takes it, the example with changes."""

    schemas = make_schemas(header.spec, Settings().limits)

    def make(engine: Engine, **changes: Any) -> Any:
        request = {**request_of(header), **changes}
        return engine.reader.ask(schemas.parse(schemas.recommend, json.dumps(request).encode()))

    return make


def request_of(header: Header, candidates: int = 8, slate_size: int = 3) -> dict[str, Any]:
    """A request of so many candidates, no two of which appeal alike."""
    request = example_request(header.spec, candidates, slate_size)
    request["user"]["interests"] = [0.1 * number - 0.9 for number in range(20)]
    return request
