"""The command: what a page holds, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from algorithms.report import app, main, write
from algorithms.reporting.page import Report
from algorithms.reporting.style import Picture
from tests.algorithms.reporting.conftest import Maker, make_run

__all__ = ["make_run"]

PNG = b"\x89PNG\r\n\x1a\n"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def refused(*arguments: object) -> str:
    """The one sentence of a refusal."""
    found = call(*arguments)
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    said = [line for line in found.stderr.splitlines() if not line.startswith("Playing")]
    assert len(said) == 1 and "Traceback" not in said[0]
    return said[0]


class Page(HTMLParser):
    """What a page refers to, names and shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.anchors: list[str] = []
        self.names: list[str] = []
        self.headings: list[str] = []
        self.alts: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append(tag)
        if tag == "img":
            self.alts.append(found["alt"] or "")
        self.sources += [found[key] or "" for key in ("src", "srcset") if key in found]
        if tag == "a":
            self.anchors.append(found["href"] or "")
        if "id" in found:
            self.names.append(found["id"] or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run whose folder, config and metrics are as bad as they may be."""
    folder = tmp_path_factory.mktemp("report")
    run = Maker(folder)("<script>alert(1)<", time_budget=15.0)
    config = run / "config.yaml"
    config.write_text(config.read_text() + 'note: "</pre><img src=x onerror=alert(2)>"\n')
    with (run / "metrics.csv").open("a") as file:
        file.write("3000,1")
    found = call(run, "--users", 20, "--out", folder / "out")
    assert found.exit_code == 0, found.output
    assert found.stdout.strip() == str(folder / "out" / "report.html")
    return folder / "out"


def test_a_page_holds_everything_and_needs_nothing(out: Path) -> None:
    text = (out / "report.html").read_text()
    page = Page(text)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "script" not in page.tags and "link" not in page.tags
    assert "http" not in re.sub('base64,[^"]*', "", text)
    # Every entry of the contents leads somewhere, and no name stands twice.
    assert {anchor.removeprefix("#") for anchor in page.anchors} <= set(page.names)
    assert len(page.anchors) == 6 and len(set(page.names)) == len(page.names)
    assert page.headings[0] == "h1" and page.headings.count("h1") == 1
    # Every picture says in words what it shows, and stands beside the page as a file.
    files = sorted(out.glob("*.png"))
    assert len(files) == len(page.alts) == 13
    assert all(len(alt) > 30 for alt in page.alts)
    assert all(file.read_bytes().startswith(PNG) for file in files)
    for words in ("click maximiser", "random", "time left, minutes", "time_budget", "12.5"):
        assert words in text
    # A click maximiser against itself: nobody gains.
    assert "cannot be told from click maximiser" in text


def test_names_from_outside_are_text(out: Path) -> None:
    text = (out / "report.html").read_text()
    assert "<script" not in text and "<img src=x" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert "&lt;/pre&gt;" in text


def test_torn_rows_are_said_and_left_out(out: Path) -> None:
    assert "1 unreadable row of metrics.csv left out." in (out / "report.html").read_text()


def bandit(make_run: Maker, label: str = "run", **options: Any) -> Path:
    """A run with sessions of one step, which are reported fastest."""
    return make_run(label, "random", "linucb", name="linear_bandit", **options)


def test_sessions_of_one_step_and_the_same_page_twice(make_run: Maker, tmp_path: Path) -> None:
    run, texts = bandit(make_run), []
    for name in ("one", "two"):
        assert call(run, "--users", 7, "--out", tmp_path / name).exit_code == 0
        texts.append((tmp_path / name / "report.html").read_text())
    assert texts[0] == texts[1]
    assert "the same 7 users" in texts[0]
    assert "Sessions have one step here" in texts[0]
    assert "left out: click maximiser, full information." in texts[0]


def test_a_run_that_has_not_ended_shows_its_checkpoint(make_run: Maker, tmp_path: Path) -> None:
    run = bandit(make_run, ended=False)
    assert call(run, "--users", 5, "--out", tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "run: The run has not ended: what it shows is its checkpoint of step 1,500." in text
    assert "Mean expected reward, shown" in text


def test_a_run_without_anything_yet_says_so(make_run: Maker, tmp_path: Path) -> None:
    run = make_run(ended=False)
    (run / "metrics.csv").unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "policy" / "policy.json").unlink()
    assert call(run, "--out", tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "has no checkpoint, so it cannot be played yet" in text
    assert "There are no metrics of training to draw." in text


@pytest.mark.slow
def test_runs_of_one_world_are_compared_and_others_stand_apart(
    make_run: Maker, tmp_path: Path
) -> None:
    first = make_run("first", time_budget=10.0)
    second = make_run("second", acting="random", time_budget=10.0)
    # Saying a default makes no other world.
    third = make_run("third", time_budget=10.0, num_topics=20)
    other = make_run("other", name="long_term_satisfaction", time_budget=5)
    out = tmp_path / "out"
    assert call(first, second, third, other, "--users", 10, "--out", out).exit_code == 0
    text = (out / "report.html").read_text()
    assert "4 runs on 2 worlds" in text
    for pair in ("second minus first", "third minus first", "second minus click maximiser"):
        assert f'<th scope="row">{pair}</th>' in text
    assert "other minus first" not in text
    assert text.count("Where the configs differ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_the_page_without_a_fault(out: Path, width: int) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium is installed; install the system's chromium package")
    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: said.append(message.text))
            page.on("request", lambda request: asked.append(request.url))
            page.goto((out / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            page.click("text=Config of")
            assert page.is_visible("text=num_candidates")
        finally:
            browser.close()
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"nonsense\n1\n2\n", b"env_steps\nabc\n"])
def test_damaged_metrics_are_one_sentence(make_run: Maker, tmp_path: Path, content: bytes) -> None:
    run = make_run()
    (run / "metrics.csv").write_bytes(content)
    said = refused(run, "--out", tmp_path / "out")
    assert "metrics.csv is damaged" in said and "use another copy" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["result.json", "config.yaml"])
def test_other_damaged_files_are_one_sentence(make_run: Maker, tmp_path: Path, name: str) -> None:
    run = make_run()
    (run / name).write_text("[1, 2")
    assert f"{name} is damaged" in refused(run, "--out", tmp_path / "out")


def test_what_is_no_run_is_one_sentence(make_run: Maker, tmp_path: Path) -> None:
    assert "is no folder" in refused(tmp_path / "nothing")
    assert "has no readable run.json" in refused(tmp_path)
    run = make_run()
    assert "is given 2 times" in refused(run, run)
    assert "--users is 1; it must be at least 2" in refused(run, "--users", 1)


def test_a_place_that_cannot_be_written_to_is_found_before_anything_is_played(
    make_run: Maker, tmp_path: Path
) -> None:
    run = make_run()
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        found = call(run, "--out", out)
        assert found.exit_code == 2 and "is a file; choose another --out" in found.stderr
        assert "Playing" not in found.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_policy_of_another_world_is_one_sentence(make_run: Maker, tmp_path: Path) -> None:
    run = make_run()
    path = run / "policy" / "policy.json"
    data = json.loads(path.read_text())
    data["info"]["world"] = {"name": "interest_evolution", "num_topics": 4}
    path.write_text(json.dumps(data))
    said = refused(run, "--out", tmp_path / "out")
    assert "expects the user features interests (20)" in said


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report("page", [Picture("one", PNG, "alt", "", False, 1)])
    write(report, tmp_path)

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("algorithms.report.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(Report("other", report.pictures), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "report.html"]
    assert (tmp_path / "report.html").read_text() == "page"


@pytest.mark.parametrize(
    ("during", "said"),
    [("make", "Stopped; nothing was written\n"), ("write", "Stopped while writing; give the ")],
)
def test_ctrl_c_says_what_is_there(
    during: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr("algorithms.report.make", lambda *_: Report("page", []))
    monkeypatch.setattr(f"algorithms.report.{during}", stopped)
    found = call(tmp_path, "--out", tmp_path / "out")
    assert found.exit_code == 130 and found.stderr.startswith(said)


def test_help_names_the_options() -> None:
    assert main.__doc__ is not None and "learning curves" in main.__doc__
    assert "--users" in call("--help").output
