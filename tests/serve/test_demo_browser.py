"""The demo as its users start and see it: a real endpoint, a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from algorithms.core.agent import Exploration
from tests.serve.demonstrated import EVOLUTION
from tests.serve.simulated import slateq
from tests.serve.test_demo_labels import JUDGED

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
ROOT = Path(__file__).parents[2]
MILLISECONDS = 60_000
SIZES = [(1280, 900), (420, 900)]


class Running(NamedTuple):
    """A demo under way.

    Attributes:
        url: of its pages.
        process: of the command.
        seconds: until it said that it is ready.
        cpu_seconds: of all its processes until then.
        quiet: whether the machine had a core to spare before.
    """

    url: str
    process: subprocess.Popen[str]
    seconds: float
    cpu_seconds: float
    quiet: bool


def spent(process: psutil.Process) -> float:
    """CPU-seconds of a process and all that it started, those that ended included."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += sum(one.cpu_times()[:4])
    return total


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("demo")
    slateq(EVOLUTION, Exploration(0.2)).save(folder / "run")
    (folder / "judged.json").write_text(json.dumps(JUDGED))
    words = [sys.executable, "-m", "serve.demo", str(folder / "run"), "--port", "0"]
    words += ["--page-port", "0", "--ope", str(folder / "judged.json")]
    began, quiet = time.monotonic(), os.getloadavg()[0] < (os.cpu_count() or 1)
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=(folder / "err").open("w"),
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), (folder / "err").read_text()
    seconds, cpu_seconds = time.monotonic() - began, spent(psutil.Process(process.pid))
    print(f"ready after {seconds:.0f} s, {cpu_seconds:.0f} CPU-seconds, quiet: {quiet}")
    yield Running(line.split()[0], process, seconds, cpu_seconds, quiet)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(90)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed; install the system's chromium package")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Seen:
    """A page of the browser, and all that it complained of or fetched from elsewhere."""

    def __init__(self, browser: Any, size: tuple[int, int], url: str) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(MILLISECONDS)
        self.problems: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._fetched)
        self.page.goto(url)

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def _fetched(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.problems.append(f"fetched {request.url}")

    def heading(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page has it."""
        self.page.get_by_role("heading", name=text).first.wait_for()

    def charts(self, count: int) -> None:
        """Wait until so many are drawn; while the page runs again, old ones stand there too."""
        found = "document.querySelectorAll('[data-testid=stVegaLiteChart]').length"
        self.page.wait_for_function(f"{found} === {count}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def open(self, name: str) -> None:
        """Go to another page by its link."""
        self.page.get_by_role("link", name=name).first.click()

    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        wide = "document.querySelector('[data-testid=stMain]')"
        return bool(self.page.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth"))

    def tracebacks(self) -> int:
        return int(self.page.get_by_test_id("stException").count())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}px")
def test_recommend_click_and_the_other_pages(
    running: Running, browser: Any, size: tuple[int, int]
) -> None:
    seen = Seen(browser, size, running.url)
    seen.heading("Slate of step 0")
    seen.press("Click")
    seen.heading("Slate of step 1")
    seen.press("Let the user choose")
    seen.heading("Slate of step 2")
    seen.open("Judged from logs")
    seen.heading("runs/mine against logged")
    seen.open("Recommend")
    seen.heading("Slate of step 2")  # the visit goes on
    seen.press("Let choose 10 times")
    seen.heading(re.compile("Slate of step 12|A user and"))
    seen.charts(3)
    assert seen.fits()
    seen.open("Judged from logs")
    seen.heading("runs/mine against logged")
    assert seen.fits()
    seen.open("Live serving")
    seen.heading("Answers")  # Ray exports the first figures after some seconds
    assert seen.fits()
    assert (seen.tracebacks(), seen.problems) == (0, [])
    seen.page.close()


def test_the_first_recommendation_comes_within_a_minute(running: Running, browser: Any) -> None:
    began = time.monotonic()
    seen = Seen(browser, SIZES[0], running.url)
    seen.heading("Slate of step 0")
    # What it costs says the same on a busy machine: less than a minute of one core.
    assert running.cpu_seconds < 60
    if running.quiet:
        assert running.seconds + time.monotonic() - began < 60
    seen.page.close()


def test_every_port_is_on_loopback(running: Running) -> None:
    main = psutil.Process(running.process.pid)
    found = []
    for process in [main, *main.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [
                connection.laddr
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    assert int(running.url.rpartition(":")[2]) in {address.port for address in found}
    assert {address.ip for address in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_ctrl_c_stops_both_and_leaves_nothing(running: Running) -> None:
    """The last test of this file: nothing runs after it."""
    main = psutil.Process(running.process.pid)
    started = [main, *main.children(recursive=True)]
    made = [Path(word).parent for word in _words(started) if "recsim-demo-" in word]
    assert made
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(90) == 0
    assert running.process.stdout is not None
    assert running.process.stdout.read().endswith("Stopped.\n")
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == []
    assert [folder for folder in made if folder.exists()] == []


def _words(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += process.cmdline()
    return found
