"""The demo's pages as Streamlit runs them, against real endpoints without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from algorithms.policy import Policy
from serve.demonstrating import page_live
from serve.demonstrating.context import VARIABLE, Context
from serve.demonstrating.visits import SimulatedVisit
from serve.settings import Settings
from serve.simulating.client import EndpointError
from serve.watching.scraping import ADDRESSES
from tests.serve.demonstrated import EVOLUTION, SWEETS, demo_of, greedy
from tests.serve.test_demo_labels import FIGURES, JUDGED

SECONDS = 60.0


@pytest.fixture(scope="module")
def policy() -> Policy:
    return greedy(EVOLUTION)


@pytest.fixture(scope="module")
def evolution(tmp_path_factory: pytest.TempPathFactory, policy: Policy) -> Iterator[Context]:
    with demo_of(tmp_path_factory.mktemp("demo"), policy, EVOLUTION) as found:
        yield found


def recommend_script() -> None:
    from serve.demonstrating.context import Context
    from serve.demonstrating.page_recommend import recommend

    recommend(Context.read())


def two_pages_script() -> None:
    import streamlit as st

    from serve.demonstrating.context import Context
    from serve.demonstrating.page_offline import offline
    from serve.demonstrating.page_recommend import recommend

    (offline if st.session_state.get("elsewhere") else recommend)(Context.read())


def offline_script() -> None:
    from serve.demonstrating.context import Context
    from serve.demonstrating.page_offline import offline

    offline(Context.read())


def live_script() -> None:
    from serve.demonstrating.context import Context
    from serve.demonstrating.page_live import live

    live(Context.read())


@pytest.fixture
def open_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the script of a page for a context."""

    def run(script: Any, context: Context) -> AppTest:
        context.write(tmp_path / "context.json")
        monkeypatch.setenv(VARIABLE, str(tmp_path / "context.json"))
        page = AppTest.from_function(script, default_timeout=SECONDS).run()
        assert not page.exception
        return page

    return run


def press(page: AppTest, label: str) -> AppTest:
    """Click the first button of that name."""
    (button, *_) = [one for one in page.button if one.label == label]
    button.click().run()
    assert not page.exception
    return page


def headings(page: AppTest) -> list[str]:
    return [str(one.value) for one in page.subheader]


def metrics(page: AppTest) -> dict[str, str]:
    return {one.label: str(one.value) for one in page.metric}


def test_a_user_gets_slates_and_clicks(open_page: Any, evolution: Context) -> None:
    page = open_page(recommend_script, evolution)
    assert "Slate of step 0" in headings(page)
    assert any("propensity" in str(one.value) for one in page.markdown)
    press(page, "Click")
    assert "Slate of step 1" in headings(page)
    assert metrics(page)["Return so far"] == "4"
    press(page, "Let the user choose")
    assert "Slate of step 2" in headings(page)
    assert any("in 1 step," in str(one.value) for one in page.caption)
    press(page, "Let choose to the end")
    assert any("The user has left" in str(one.value) for one in page.success)
    press(page, "Let the others play to the end")
    assert "Let the others play to the end" not in [one.label for one in page.button]
    user = page.number_input(key="user").value
    press(page, "Draw another user")
    assert "Slate of step 0" in headings(page)
    assert page.number_input(key="user").value != user


def test_exploration_that_is_asked_for_changes_the_next_slate(
    open_page: Any, evolution: Context
) -> None:
    page = open_page(recommend_script, evolution)
    assert metrics(page)["Slate's propensity"] == "100 %"
    page.slider[0].set_value(0.5).run()
    press(page, "Let the user choose")
    assert metrics(page)["Slate's propensity"] != "100 %"


def test_a_visit_goes_on_after_another_page_was_open(open_page: Any, evolution: Context) -> None:
    page = open_page(two_pages_script, evolution)
    press(page, "Draw another user")
    page.slider[0].set_value(0.3).run()
    press(page, "Let the user choose")
    user = page.session_state["user"]
    page.session_state["elsewhere"] = True
    page.run()
    assert not page.slider
    page.session_state["elsewhere"] = False
    page.run()
    assert page.session_state["user"] == user
    assert page.session_state["visit"].epsilon == 0.3
    assert "Slate of step 1" in headings(page)


def test_a_profile_is_entered(open_page: Any, evolution: Context) -> None:
    page = open_page(recommend_script, evolution)
    press(page, "Let the user choose")
    press(page, "Start with this profile")
    assert "Slate of step 0" in headings(page)
    visit = page.session_state["visit"]
    drawn = visit.player.track.users[0]
    press(page, "Back to the drawn profile")
    # The table rounds to four digits.
    assert page.session_state["visit"].player.track.users[0] == pytest.approx(drawn, abs=1e-4)


def test_a_user_who_takes_whatever_is_first(open_page: Any, tmp_path: Path) -> None:
    with demo_of(tmp_path / "sweets", greedy(SWEETS), SWEETS) as context:
        page = open_page(recommend_script, context)
        press(page, "Click nothing")
        assert ["would (almost) never" in str(one.value) for one in page.error] == [True]
        press(page, "Let choose 10 times")
        assert any("after 10 slates" in str(one.value) for one in page.success)
        assert not page.error


def test_own_data_has_users_by_hand(open_page: Any, tmp_path: Path, policy: Policy) -> None:
    with demo_of(tmp_path / "own", policy, None) as context:
        page = open_page(recommend_script, context)
        assert ["Trained on own data" in str(one.value) for one in page.info] == [True]
        assert "Let the user choose" not in [one.label for one in page.button]
        press(page, "Click")
        assert "Slate of step 1" in headings(page)
        assert metrics(page)["Click rate"] == "100 %"
        press(page, "Click nothing")
        assert metrics(page)["Click rate"] == "50 %"
        press(page, "Draw another user")
        assert "Slate of step 0" in headings(page)


def test_a_user_whose_slate_fails_leaves_the_way_back_open(
    open_page: Any, evolution: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = SimulatedVisit.ask

    def fails_for_one(self: SimulatedVisit) -> None:
        if self._name == "demo-1":
            raise EndpointError("the endpoint is busy")
        asked(self)

    monkeypatch.setattr(SimulatedVisit, "ask", fails_for_one)
    page = open_page(recommend_script, evolution)
    page.number_input(key="user").set_value(1).run()
    assert "The endpoint is busy." in [str(one.value) for one in page.error]
    assert "Slate of step 0" not in headings(page)
    page.number_input(key="user").set_value(0).run()
    assert "Slate of step 0" in headings(page)


def test_own_data_may_have_categories_of_one_value_and_long_slates(
    open_page: Any, tmp_path: Path
) -> None:
    world = {"name": "boredom", "age_groups": 1, "num_candidates": 20, "slate_size": 12}
    with demo_of(tmp_path / "own", greedy(world), None) as context:
        page = open_page(recommend_script, context)
        assert not page.error
        assert "Slate of step 0" in headings(page)
        assert page.session_state["visit"].user["age_group"].shape == (1,)


def test_items_of_the_endpoints_catalogue(open_page: Any, tmp_path: Path, policy: Policy) -> None:
    names = [f"features_{number}" for number in range(20)]
    rows = [["id", *names]]
    rows += [[f"film-{n}", *("1" if n == m else "0" for m in range(20))] for n in range(8)]
    file = tmp_path / "items.csv"
    file.write_text("".join(",".join(row) + "\n" for row in rows))
    settings = Settings(catalogue={"path": str(file)})  # type: ignore[arg-type]
    with demo_of(tmp_path / "own", policy, None, settings) as context:
        page = open_page(recommend_script, replace(context, catalogue=True))
        assert any("film" in str(one.value) for one in page.markdown)


def test_an_endpoint_that_is_gone_is_said_in_a_sentence(open_page: Any, evolution: Context) -> None:
    page = open_page(recommend_script, replace(evolution, url="http://127.0.0.1:9"))
    (error,) = page.error
    assert "does not answer" in str(error.value)
    assert [one.label for one in page.button] == ["Try again"]


def test_results_from_files(open_page: Any, tmp_path: Path, evolution: Context) -> None:
    (tmp_path / "judged.json").write_text(json.dumps(JUDGED))
    page = open_page(offline_script, replace(evolution, ope=[str(tmp_path / "judged.json")]))
    assert headings(page)[0] == "runs/mine against logged"
    assert [str(one.value) for one in page.warning] == ["few sessions"]


def test_the_own_log_is_judged(open_page: Any, tmp_path: Path) -> None:
    with demo_of(tmp_path / "sweets", greedy(SWEETS), SWEETS) as context:
        page = open_page(recommend_script, context)
        # The first slate was without exploration, and nobody reacts to it.
        page.slider[0].set_value(0.5).run()
        for _ in range(3):
            press(page, "Draw another user")
            press(page, "Let choose to the end")
        judged = open_page(offline_script, replace(context, target="random"))
        press(judged, "Judge it")
        assert [str(one.value) for one in judged.error] == []
        assert headings(judged)[-1] == "random against logged"
        assert any("sessions: **3**" in str(one.value) for one in judged.markdown)


def test_a_log_without_exploration_says_nothing_of_others(open_page: Any, tmp_path: Path) -> None:
    with demo_of(tmp_path / "sweets", greedy(SWEETS), SWEETS) as context:
        page = open_page(recommend_script, context)
        press(page, "Let choose to the end")
        judged = open_page(offline_script, replace(context, target="random"))
        press(judged, "Judge it")
        assert len(judged.error) == 1
        assert "very slate of this log was shown with certainty" in str(judged.error[0].value)


def test_no_results_say_how_to_make_some(open_page: Any, evolution: Context) -> None:
    page = open_page(offline_script, evolution)
    assert ["offline.evaluate" in str(one.value) for one in page.info] == [True]


def test_live_figures(open_page: Any, evolution: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page(live_script, evolution)
    assert [ADDRESSES in str(one.value) for one in page.warning] == [True]  # without Ray
    (Path(evolution.state) / ADDRESSES).write_text('[{"url": "http://127.0.0.1:9"}]')
    monkeypatch.setattr(page_live, "scrape", lambda *urls: FIGURES)
    press(page, "Refresh now")
    assert not page.warning
    assert metrics(page)["Requests"] == "1,234"
    assert headings(page)[-1] == "Drift against the training log"


def test_pages_without_a_command_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    script = Path(page_live.__file__).with_name("page.py")
    page = AppTest.from_file(str(script), default_timeout=SECONDS).run()
    assert ["python -m serve.demo RUN" in str(one.value) for one in page.error] == [True]
