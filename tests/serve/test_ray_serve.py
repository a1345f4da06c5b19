"""The command as users start it: a real cluster, a real proxy, real HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from typer.testing import CliRunner

from offline.log.schema import Header
from serve import deploy
from serve.schemas import example_responses
from tests.serve.conftest import policy_of, request_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


class Running(NamedTuple):
    """An endpoint under way."""

    url: str
    state: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("endpoint")
    process = subprocess.Popen(
        [sys.executable, "-m", "serve.run", "random", "--port", "0", "--state", str(folder / "s")],
        stdout=subprocess.PIPE,
        stderr=(folder / "err").open("w"),
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()  # printed when it is ready
    assert line.startswith("http://127.0.0.1:"), (folder / "err").read_text()
    yield Running(line.split()[0], folder / "s", process)
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def post(url: str, data: Any) -> Any:
    body = json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def rows(state: Path) -> list[dict[str, Any]]:
    """What was logged; a line torn by a kill was never answered."""
    shards = sorted((state / "log").glob("impressions-*.jsonl"))
    texts = [shard.read_text() for shard in shards]
    return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]


def test_a_session_over_real_http_is_in_the_log(running: Running, header: Header) -> None:
    request = request_of(header)
    first = post(f"{running.url}/v1/recommend", request)
    responses = example_responses(header.spec, 3)
    second = post(
        f"{running.url}/v1/recommend",
        {**request, "session": first["session"], "responses": responses},
    )
    post(
        f"{running.url}/v1/feedback",
        {"impression_id": second["impression_id"], "responses": responses},
    )
    logged = {row["impression_id"]: row for row in rows(running.state)}
    assert logged[second["impression_id"]]["previous"] == first["impression_id"]
    assert logged[second["impression_id"]]["step"] == 1
    (feedback,) = (running.state / "log").glob("feedback-*.jsonl")
    assert json.loads(feedback.read_text())["impression_id"] == second["impression_id"]


def test_refusals_pass_the_proxy_unchanged(running: Running, header: Header) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{running.url}/v1/recommend", {**request_of(header), "slate_size": 9})
    assert refused.value.code == 422
    assert json.load(refused.value)["field"] == "slate_size"


def test_every_port_is_on_loopback(running: Running) -> None:
    main = psutil.Process(running.process.pid)
    found = []
    for process in [main, *main.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # Ray's helpers come and go
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.append((process.name(), connection.laddr.ip, connection.laddr.port))
    assert str(running.url.rpartition(":")[2]) in {str(port) for _, _, port in found}
    assert len(found) > 5  # the proxy's, the replica's and Ray's own
    loopback = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    assert [one for one in found if one[1] not in loopback] == []


class Load:
    """Requests one after the other, on a few threads."""

    def __init__(self, url: str, request: Any) -> None:
        self.answers: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.failed: list[str] = []
        self._url, self._request = f"{url}/v1/recommend", request
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(post(self._url, self._request))
            except urllib.error.HTTPError as error:
                told_to_go = error.code == 503 and error.headers["Retry-After"] == "5"
                (self.refused if told_to_go else self.failed).append(repr(error))
                return
            except urllib.error.URLError as error:
                # A connection that was never taken carried no request.
                never = isinstance(error.reason, ConnectionRefusedError)
                (self.refused if never else self.failed).append(repr(error))
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until(self, count: int) -> None:
        """Wait for more answers."""
        pause, target = threading.Event(), len(self.answers) + count
        for _ in range(6000):
            if len(self.answers) >= target:
                return
            pause.wait(0.01)
        raise AssertionError(f"only {len(self.answers)} answers; failed: {self.failed[:3]}")


def test_deploying_under_load_fails_no_request(
    running: Running, header: Header, tmp_path: Path
) -> None:
    policy_of(header, 0.3).save(tmp_path / "new")
    with Load(running.url, request_of(header)) as load:
        load.until(50)
        for words in ([str(tmp_path / "new")], ["--rollback"], [str(tmp_path / "new")]):
            found = CliRunner().invoke(deploy.app, [*words, "--state", str(running.state)])
            assert found.exit_code == 0, found.output
            load.until(50)
    assert (load.failed, load.refused) == ([], [])
    assert {answer["policy"] for answer in load.answers} == {"random", "click_maximiser"}
    assert load.answers[-1]["policy"] == "click_maximiser"


def test_a_huge_body_is_refused_by_a_sentence(running: Running) -> None:
    body = b" " * 50_000_000
    request = urllib.request.Request(
        f"{running.url}/v1/recommend", body, {"content-type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 413
    assert "the body is larger than 4194304 bytes" in json.load(refused.value)["error"]


def test_a_killed_replica_loses_nothing_it_answered(running: Running, header: Header) -> None:
    main = psutil.Process(running.process.pid)
    (replica,) = [
        child for child in main.children(recursive=True) if "ServeReplica" in child.name()
    ]
    with Load(running.url, request_of(header)) as load:
        load.until(100)
        replica.kill()
        replica.wait(20)
    answered = {answer["impression_id"] for answer in load.answers}
    assert answered <= {row["impression_id"] for row in rows(running.state)}
    pause = threading.Event()
    for _ in range(600):  # another one is started
        try:
            post(f"{running.url}/v1/recommend", request_of(header))
            return
        except OSError:
            pause.wait(0.1)
    raise AssertionError("no replica answers a minute after the only one was killed")


def test_a_stop_under_load_answers_what_is_in_flight_and_loses_no_row(
    running: Running, header: Header
) -> None:
    before = len(rows(running.state))
    with Load(running.url, request_of(header)) as load:
        load.until(100)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
    assert running.process.returncode == 0
    assert load.failed == []
    assert load.refused  # it really stopped
    assert len(rows(running.state)) - before == len(load.answers)
