"""What users of Ray Serve do: its own command, several replicas, more of them under load."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
import yaml

from benchmarks.serve.load import Load, await_true, failed
from benchmarks.serve.servers import (
    Server,
    bodies,
    free,
    logged,
    ours,
    policy,
    replicas_of,
    session,
    shards,
)
from offline.log.schema import Header
from serve.schemas import example_responses
from tests.serve.conftest import request_of
from tests.serve.test_ray_serve import post

pytestmark = pytest.mark.slow


def write_catalogue(path: Path, prefix: str) -> None:
    """50 items, the file whole or not at all."""
    features = np.random.default_rng(1).uniform(-1, 1, (50, 20)).round(3)
    columns: dict[str, Any] = {"id": [f"{prefix}-{number}" for number in range(50)]}
    columns |= {f"features_{column}": features[:, column] for column in range(20)}
    columns["genre"] = ["news", "music"] * 25
    pacsv.write_csv(pa.table(columns), path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Two replicas, with a catalogue."""
    folder = tmp_path_factory.mktemp("two")
    write_catalogue(folder / "items.csv", "old")
    options = ["--replicas", "2", "--set", f"catalogue.path={folder / 'items.csv'}"]
    with ours(folder, *options) as server:
        yield server, folder


def test_any_replica_goes_on_with_a_session_and_takes_feedback(
    two: tuple[Server, Path], header: Header
) -> None:
    server, folder = two
    responses = example_responses(header.spec, 3)
    answer = post(f"{server.url}/v1/recommend", request_of(header))
    steps = [answer["step"]]
    for _ in range(200):  # each on a connection of its own, so to either
        given = {"impression_id": answer["impression_id"], "responses": responses}
        for _ in range(2):  # an odd number of requests a step, since replicas take turns
            post(f"{server.url}/v1/feedback", given)
        request = {**request_of(header), "session": answer["session"], "responses": responses}
        answer = post(f"{server.url}/v1/recommend", request)
        steps.append(answer["step"])
        writers = {path.stem.split("-")[2] for path in shards(folder / "state", "feedback")}
        if len(replicas_of(folder / "state")) == len(writers) == 2:
            break
    assert steps == list(range(len(steps)))
    assert len(replicas_of(folder / "state")) == len(writers) == 2


def test_items_are_replaced_while_serving(two: tuple[Server, Path], header: Header) -> None:
    server, folder = two
    request = {**request_of(header), "catalogue": {"filters": {"genre": ["news"]}, "limit": 10}}
    del request["candidates"]

    def shown() -> set[str]:
        found = post(f"{server.url}/v1/recommend", request)["slate"]
        return {item["id"].partition("-")[0] for item in found}

    assert shown() == {"old"}
    with Load(server.url, bodies(), 4, session=session()) as load:
        write_catalogue(folder / "items.csv", "new")
        await_true(lambda: all(shown() == {"new"} for _ in range(20)), 30)
        (folder / "items.csv").write_text("id,genre\nbroken,news\n")
        load.until(200)
    assert failed(load.replies) == 0, load.tally()
    assert all(shown() == {"new"} for _ in range(10))  # what cannot be used changes nothing


def test_replicas_are_added_under_load(tmp_path: Path) -> None:
    options = ["--set", "replicas.most=2", "--set", "replicas.target_requests=1"]
    with ours(tmp_path, *options) as server:
        assert len(server.named("ServeReplica")) == 1
        with Load(server.url, bodies(), 16, session=session()) as load:
            await_true(lambda: len(replicas_of(tmp_path / "state")) == 2, 120)
            load.until(100)
        assert failed(load.replies) == 0, load.tally()
    answered = {one for reply in load.replies for one in reply.ids}
    assert answered == set(logged(tmp_path / "state"))


@pytest.mark.parametrize("words", ["config", "arguments"])
def test_ray_serves_own_command_serves_the_same(tmp_path: Path, header: Header, words: str) -> None:
    policy().save(tmp_path / "policy")
    arguments = {"policy": str(tmp_path / "policy"), "state": str(tmp_path / "state")}
    port = free()
    environment = {"RAY_ADDRESS": "local", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [str(Path(sys.executable).with_name("serve")), "run"]
    if words == "config":
        application = {"name": "recsim", "import_path": "serve.app:build", "args": arguments}
        config = {
            "http_options": {"host": "127.0.0.1", "port": port},
            "applications": [{**application, "route_prefix": "/"}],
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        command.append(str(tmp_path / "config.yaml"))
    else:
        port = 8000  # which the command always takes
        if any(one.laddr.port == port for one in psutil.net_connections("tcp") if one.laddr):
            pytest.skip("something else has port 8000")
        command += ["serve.app:build", *(f"{key}={value}" for key, value in arguments.items())]
    with Server(command, port, tmp_path / "said", environment) as server:
        assert len(post(f"{server.url}/v1/recommend", request_of(header))["slate"]) == 3
        server.process.send_signal(signal.SIGINT)
        server.process.wait(60)
    assert len(list(logged(tmp_path / "state"))) == 1
