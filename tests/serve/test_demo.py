"""The demo's command: what users get wrong, and its two processes."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from serve import demo
from serve.demonstrating.processes import Child, answers, stop_all, wait_for
from tests.serve.demonstrated import EVOLUTION, greedy


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield int(found.getsockname()[1])


def told(*words: str) -> str:
    """What the command says of a mistake: one sentence, and status 2."""
    found = CliRunner().invoke(demo.app, list(words))
    assert found.exit_code == 2, found.output
    (line,) = found.stderr.splitlines()
    assert "Traceback" not in line
    return line


def test_ports_in_use(taken: int) -> None:
    line = told("random", "--port", str(taken), "--page-port", "0")
    assert f"cannot listen on 127.0.0.1:{taken}" in line
    assert "choose another --port" in line
    line = told("random", "--port", "0", "--page-port", str(taken))
    assert f"cannot listen on 127.0.0.1:{taken}" in line
    assert "choose another --page-port" in line
    assert told("random", "--port", "0", "--page-port", "70000").startswith("--page-port is 70000")


def test_one_port_for_both() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        free = str(found.getsockname()[1])
    line = told("random", "--port", free, "--page-port", free)
    assert line == f"--port and --page-port are both {free}; choose two ports"


@pytest.mark.parametrize("name", demo.NEEDED)
def test_what_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda wanted: None if wanted == name else find(wanted)
    )
    line = told("random")
    assert line == f"the demo needs {name}; install it with: pip install 'rllib-recsim[demo]'"


PORTS = ("--port", "0", "--page-port", "0")


def test_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert "'rundom' is neither a run folder nor a baseline" in told("rundom", *PORTS)
    assert "holds no policy" in told(str(tmp_path), *PORTS)
    assert "holds no result" in told("random", *PORTS, "--ope", str(tmp_path / "x.json"))
    assert "--seed is -1" in told("random", *PORTS, "--seed", "-1")
    assert "unknown environment 'borodom'" in told("random", *PORTS, "--set", "env.name=borodom")
    assert "limits" in told("random", *PORTS, "--set", "limits.max_slat=3")


def test_the_world_is_that_of_the_training_with_the_policys_memory(tmp_path: Path) -> None:
    policy = greedy(EVOLUTION)
    policy.save(tmp_path / "trained")
    found = demo.world_of(str(tmp_path / "trained"), [])
    assert found is not None
    assert found["name"] == "interest_evolution"
    assert found["time_budget"] == 30.0
    assert found["history"] == policy.history.to_json()
    changed = demo.world_of(str(tmp_path / "trained"), ["env.num_candidates=7"])
    assert changed is not None
    assert changed["num_candidates"] == 7
    # Of own data there is no world, unless one is named.
    policy.info = {}
    policy.save(tmp_path / "own")
    assert demo.world_of(str(tmp_path / "own"), []) is None
    named = demo.world_of(str(tmp_path / "own"), ["env.name=interest_evolution"])
    assert named is not None
    with pytest.raises(ValueError, match="expects the user features"):
        demo.world_of(str(tmp_path / "own"), ["env.name=boredom"])


def test_what_the_pages_are_told(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id\n")
    found = demo.prepare(
        "random",
        8123,
        tmp_path / "state",
        None,
        ["env.name=boredom", f"catalogue.path={tmp_path / 'items.csv'}", "api_key_file=key"],
        5,
        [],
    )
    assert found.url == "http://127.0.0.1:8123"
    assert found.world is not None
    assert found.world["name"] == "boredom"
    assert (found.seed, found.catalogue, found.api_key_file) == (5, True, "key")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_processes_are_started_awaited_and_stopped() -> None:
    port = free_port()
    child = Child("files", ["http.server", str(port), "--bind", "127.0.0.1"])
    try:
        url = f"http://127.0.0.1:{port}"
        assert wait_for(lambda: answers(url), [child], lambda: False, 60) is None
        assert answers(url)
        assert child.status is None
    finally:
        before = keep_signals()
        stop_all([child])
        restore(before)
    assert child.status is not None
    assert not answers(url)


def test_what_a_stopped_process_leaves_behind_is_killed() -> None:
    """A child that dies at SIGTERM, and its own child that does not."""
    code = (
        "import os, signal, sys, time\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    print(os.getpid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    child = Child("stubborn", ["timeit", "-n", "1", "-r", "1", f"exec({code!r})"])
    wait_for(lambda: bool(child.lines), [child], lambda: False, 60)
    left = int(child.lines[0])
    assert psutil.pid_exists(left)
    before = keep_signals()
    stop_all([child])
    restore(before)
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == "zombie"


def test_a_process_that_ends_is_noticed() -> None:
    child = Child("short", ["json.tool", os.devnull])
    assert wait_for(lambda: False, [child], lambda: False, 60) is child
    assert child.status == 1
    with pytest.raises(TimeoutError):
        wait_for(lambda: False, [], lambda: False, 0.0)
    assert wait_for(lambda: False, [], lambda: True, 0.0) is None


def keep_signals() -> dict[int, Any]:
    return {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


def restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_help_names_every_option() -> None:
    found = CliRunner().invoke(demo.app, ["--help"])
    assert found.exit_code == 0
    for option in ("--port", "--page-port", "--ope", "--state", "--config", "--set", "--seed"):
        assert option in found.output
