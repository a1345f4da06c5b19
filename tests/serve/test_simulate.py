"""Simulated users meet through HTTP what `algorithms.evaluate` says that they meet."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import torch
import uvicorn
from typer.testing import CliRunner

from algorithms.bandits import ALGORITHMS as BANDITS
from algorithms.core.agent import Exploration
from algorithms.core.collect import Collector
from algorithms.evaluation import evaluate_policy
from algorithms.policy import Policy
from envs.registry import make_simulator
from offline.bc import BCAgent, BCSettings
from serve.settings import Limits, Settings
from serve.simulate import app as command
from serve.simulating.client import Endpoint, EndpointError
from serve.simulating.messages import objects
from tests.serve.simulated import BOREDOM, EVOLUTION, SEED, of_baseline, served, simulate, slateq

LINEAR: dict[str, Any] = {"name": "linear_bandit", "backend": "torch"}


def bandit() -> Policy:
    """LinUCB after 64 rounds."""
    simulator = make_simulator(num_users=16, **LINEAR)
    torch.manual_seed(3)
    entry = {entry.name: entry for entry in BANDITS}["linucb"]
    agent = entry.agent(
        simulator.spec, simulator.history, simulator.slate_size, entry.settings().model_dump()
    )
    fragment, _ = Collector(simulator, agent, seed=0).collect(4, Exploration(epsilon=1.0))
    agent.absorb(agent.learn_columns(fragment))
    return Policy(agent, exploration=Exploration(), info={"world": LINEAR})


def cloned() -> Policy:
    """What an offline learner exports, greedy; weights that only the seed decides."""
    simulator = make_simulator(num_users=1, **BOREDOM)
    torch.manual_seed(3)
    settings = BCSettings(hidden=(16,)).model_dump()
    agent = BCAgent(simulator.spec, simulator.history, simulator.slate_size, settings)
    return Policy(agent, exploration=Exploration(), info={"world": BOREDOM})


@pytest.mark.parametrize(
    ("policy", "world"),
    [
        (slateq(EVOLUTION, Exploration()), EVOLUTION),
        (slateq(BOREDOM, Exploration()), BOREDOM),
        (of_baseline("click_maximiser", EVOLUTION), EVOLUTION),
        (bandit(), LINEAR),
        (cloned(), BOREDOM),
    ],
    ids=["slateq", "slateq-boredom", "click_maximiser", "linucb", "bc"],
)
def test_greedy_policies_earn_the_same(
    tmp_path: Path, policy: Policy, world: dict[str, Any]
) -> None:
    # An endpoint acts as the policy explores: LinUCB with its bonus, without chance.
    here = evaluate_policy(policy, world, 20, SEED, explore=True)
    with served(tmp_path, policy) as app:
        there, _ = simulate(app, world, 20)
    assert there.result.returns.tolist() == here.returns.tolist()
    assert there.result.lengths.tolist() == here.lengths.tolist()
    assert {n: v.tolist() for n, v in there.result.totals.items()} == {
        n: v.tolist() for n, v in here.totals.items()
    }
    # Returns that differ between users and from random play tell that something was tested.
    other = evaluate_policy(of_baseline("random", world), world, 20, SEED, explore=True)
    assert here.returns.std() > 0 and (here.returns != other.returns).any()


def test_a_history_that_is_lost_would_be_noticed(tmp_path: Path) -> None:
    """Without responses the same policy earns something else."""
    policy = slateq(EVOLUTION, Exploration())
    with served(tmp_path, policy) as app:

        async def without(scope: Any, receive: Any, send: Any) -> None:
            async def stripped() -> Any:
                message = await receive()
                if scope["path"] == "/v1/recommend" and message.get("body"):
                    body = orjson.loads(message["body"])
                    body.pop("responses", None)
                    message = {**message, "body": orjson.dumps(body)}
                return message

            headers = [item for item in scope["headers"] if item[0] != b"content-length"]
            await app({**scope, "headers": headers}, stripped, send)

        there, _ = simulate(without, EVOLUTION, 4, batch=1)
    here = evaluate_policy(policy, EVOLUTION, 4, SEED)
    assert there.result.returns.tolist() != here.returns.tolist()


@pytest.mark.parametrize("name", ["random", "slateq"])
def test_policies_that_explore_agree_within_the_interval(tmp_path: Path, name: str) -> None:
    policy = of_baseline("random", BOREDOM)
    if name == "slateq":
        policy = slateq(BOREDOM, Exploration(0.3, 0.5))
    with served(tmp_path, policy) as app:
        there, _ = simulate(app, BOREDOM, 400)
    here = evaluate_policy(policy, BOREDOM, 400, SEED, explore=True)
    gap = there.result.returns - here.returns
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    # The server's draws are its own, so that this test has chance in it: 4 deviations.
    assert 0 < abs(gap).max() and abs(gap.mean()) < 4 * error


def test_every_response_is_logged_with_the_next_request_or_as_feedback(tmp_path: Path) -> None:
    with served(tmp_path, of_baseline("random", BOREDOM)) as app:
        played, _ = simulate(app, BOREDOM, 30)
    rows = [json.loads(line) for p in tmp_path.glob("impressions-*") for line in p.open()]
    late = [json.loads(line) for p in tmp_path.glob("feedback-*") for line in p.open()]
    assert len(rows) == played.answers == int(played.result.lengths.sum())
    assert len({row["session_id"] for row in rows}) == len(late) == 30
    told = {row["previous"] for row in rows if row["previous_response"] is not None}
    assert told | {one["impression_id"] for one in late} == {row["impression_id"] for row in rows}
    # Clicks are all that responses of this world hold.
    clicks = sum(sum(row["previous_response"] or []) for row in rows)
    assert clicks + sum(sum(one["response"]) for one in late) == played.result.returns.sum()


def test_batches_and_users_side_by_side(tmp_path: Path) -> None:
    policy = slateq(BOREDOM, Exploration())
    expected = evaluate_policy(policy, BOREDOM, 9, SEED)
    sent = {}
    for batch, together in ((1, 500), (4, 500), (50, 500), (50, 2)):
        with served(tmp_path / f"{batch}-{together}", policy) as app:
            played, paths = simulate(app, BOREDOM, 9, batch=batch, together=together)
        assert played.result.returns.tolist() == expected.returns.tolist()
        sent[batch, together] = [path for path in paths if "recommend" in path]
    assert set(sent[1, 500]) == {"/v1/recommend"}
    assert len(sent[1, 500]) == expected.lengths.sum()
    assert set(sent[4, 500]) == {"/v1/recommend/batch"}
    steps = int(expected.lengths.max())
    assert len(sent[50, 500]) == steps < len(sent[4, 500])
    assert len(sent[50, 2]) > steps  # five groups, one after the other


def test_batches_are_no_larger_than_the_endpoint_allows(tmp_path: Path) -> None:
    small = Settings(limits=Limits(max_batch=3))
    with served(tmp_path, of_baseline("random", BOREDOM), settings=small) as app:
        _, paths = simulate(app, {**BOREDOM, "time_budget": 1}, 9)
    assert paths.count("/v1/recommend/batch") == 3


def test_arms_are_told_apart(tmp_path: Path) -> None:
    arms = [of_baseline(name, BOREDOM) for name in ("random", "click_maximiser")]
    with served(tmp_path, *arms) as app:
        played, _ = simulate(app, BOREDOM, 60)
    found = played.by_arm()
    assert sum(part["sessions"] for part in found.values()) == 60
    assert min(part["sessions"] for part in found.values()) > 10
    means = [part["return"]["mean"] * part["sessions"] for part in found.values()]
    assert sum(means) == pytest.approx(played.result.returns.sum())


def test_another_world_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, of_baseline("random", EVOLUTION)) as app:
        with pytest.raises(EndpointError, match="the endpoint expects the user features interests"):
            simulate(app, BOREDOM, 2)
    small = Settings(limits=Limits(max_candidates=3))
    with served(tmp_path, of_baseline("random", BOREDOM), settings=small) as app:
        with pytest.raises(EndpointError, match="has 10 candidates, but the endpoint allows 3"):
            simulate(app, BOREDOM, 2)


def test_an_endpoint_that_is_busy_is_asked_again() -> None:
    answers = [httpx.Response(503, headers={"retry-after": "0"})] * 2 + [
        httpx.Response(200, json={"a": 1})
    ]
    transport = httpx.MockTransport(lambda request: answers.pop(0))

    async def run() -> dict[str, Any]:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await Endpoint(http, 1, 1).policy()

    assert asyncio.run(run()) == {"a": 1} and not answers


def test_features_as_objects() -> None:
    spec = make_simulator("boredom", 1).spec
    (found,) = objects(spec.user, np.arange(spec.user_size, dtype=np.float32)[None])
    assert list(found) == [feature.name for feature in spec.user]
    flat = [number for values in found.values() for number in np.atleast_1d(values)]
    assert flat == list(range(spec.user_size))


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The URL of an endpoint on a real port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_the_command(tmp_path: Path) -> None:
    policy = slateq(BOREDOM, Exploration())
    policy.save(tmp_path / "run")
    slateq(BOREDOM, Exploration(1.0)).save(tmp_path / "other")
    words = ["--users", "60", "--seed", str(SEED)]
    with served(tmp_path / "log", policy) as app, listening(app) as url:
        found = CliRunner().invoke(command, [url, *words, "--against", str(tmp_path / "run")])
        assert found.exit_code == 0, found.output
        assert found.stdout.splitlines()[-1] == "agrees"
        assert re.search(r"minus .*run\n  return +0  \[0, 0\]", found.stdout)
        other = CliRunner().invoke(
            command, [url, *words, "--against", str(tmp_path / "other"), "--json"]
        )
    data = json.loads(other.stdout)
    assert other.exit_code == (0 if data["agrees"] else 1)
    assert data["users"] == 60 and data["answers"] >= 60
    assert data["arms"]["arm-0"]["sessions"] == 60
    expected = evaluate_policy(policy, BOREDOM, 60, SEED).returns.mean()
    assert data["return"]["mean"] == pytest.approx(expected)


def test_a_return_that_differs_ends_with_status_1(tmp_path: Path) -> None:
    best = of_baseline("click_maximiser", BOREDOM)
    with served(tmp_path / "log", best) as app, listening(app) as url:
        settings = [f"env.{name}={value}" for name, value in BOREDOM.items()]
        flags = [word for one in settings for word in ("--set", one)]
        found = CliRunner().invoke(command, [url, "--users", "300", "--against", "random", *flags])
    assert found.exit_code == 1, found.output
    assert found.stdout.splitlines()[-1] == "differs by more than its interval"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["http://127.0.0.1:9"], "http://127.0.0.1:9 does not answer"),
        (["localhost:8000"], "'localhost:8000' is no URL"),
        (["http://127.0.0.1:9", "--users", "0"], "--users is 0"),
        (["http://127.0.0.1:9", "--batch", "0"], "--batch is 0"),
        (["http://127.0.0.1:9", "--against", "nobody"], "'nobody' is neither"),
        (["http://127.0.0.1:9", "--set", "env.name=boredon"], "did you mean 'boredom'"),
        (["http://127.0.0.1:9", "--api-key-file", "/nowhere"], "cannot read the API key"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], message: str) -> None:
    found = CliRunner().invoke(command, words)
    assert found.exit_code == 2 and message in found.stderr
    assert found.stderr.count("\n") == 1
