from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.core import Benchmark, Goal, Row, at_least, at_most
from benchmarks.table import END, START, between_markers, details, render

MACHINE = {"cpu": "Some CPU", "cores": 2, "memory_gb": 8, "versions": {"python": "3.11"}}


def entry(numbers: dict[str, float], other_load: float = 0.0, date: str = "2026-11-20"):
    return {"date": date, "other_load": other_load, "machine": MACHINE, "numbers": numbers}


def benchmark(name: str, must: Goal | None = None, aim: Goal | None = None) -> Benchmark:
    row = Row(f"what {name} is", lambda numbers: f"{numbers['x']:.1f}", must, aim)
    return Benchmark(name, "", lambda quick: {}, (row,))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| what")][1:]


def test_goals_say_which_are_met() -> None:
    goals = (at_least("5", "x", 5), at_least("7", "x", 7))
    found = {"one": benchmark("one", *goals)}
    expected = {
        4.9: "| what one is | 5 | 7 | 4.9 | no |",
        5.0: "| what one is | 5 | 7 | 5.0 | yes |",
        7.0: "| what one is | 5 | 7 | 7.0 | yes, and the aim |",
    }
    for x, line in expected.items():
        assert lines(render(found, {"one": entry({"x": x})})) == [line]


def test_smaller_can_be_better() -> None:
    found = {"one": benchmark("one", at_most("10 %", "x", 0.1), at_most("3 %", "x", 0.03))}
    assert lines(render(found, {"one": entry({"x": 0.11})}))[0].endswith("| no |")
    assert lines(render(found, {"one": entry({"x": 0.03})}))[0].endswith("| yes, and the aim |")


def test_a_reference_has_nothing_to_reach() -> None:
    text = render({"one": benchmark("one")}, {"one": entry({"x": 1.0})})
    assert lines(text) == ["| what one is | - | - | 1.0 | - |"]


def test_lines_stand_in_the_benchmarks_order_and_unmeasured_ones_are_left_out() -> None:
    found = {name: benchmark(name) for name in ("b", "c", "a")}
    text = render(found, {"a": entry({"x": 1.0}), "b": entry({"x": 2.0}), "gone": entry({})})
    assert [line.split("|")[1].strip() for line in lines(text)] == ["what b is", "what a is"]


def test_contended_figures_are_marked_and_explained() -> None:
    found = {"a": benchmark("a"), "b": benchmark("b")}
    text = render(found, {"a": entry({"x": 1.0}, 0.5), "b": entry({"x": 2.0}, 0.05)})
    assert [line.split("|")[4].strip() for line in lines(text)] == ["1.0 *", "2.0"]
    assert "Something else kept the machine busy" in text
    assert "Something else" not in render(found, {"b": entry({"x": 2.0}, 0.05)})


def test_dates_and_machine_stand_once() -> None:
    found = {"a": benchmark("a"), "b": benchmark("b")}
    results = {"a": entry({"x": 1.0}, date="2026-11-22"), "b": entry({"x": 2.0})}
    note = "Measured 2026-11-20 to 2026-11-22 on Some CPU, 2 cores, 8 GB; python 3.11."
    assert render(found, results).count(note) == 1


def test_sections_stand_on_a_page_of_their_own() -> None:
    found = {"a": Benchmark("a", "What a is", lambda quick: {}, section=lambda n: f"x: {n['x']}\n")}
    found["b"], found["c"] = benchmark("b"), replace(found["a"], name="c")
    results = {name: entry({"x": 3}) for name in ("a", "b")}
    text = details(found, results)
    assert text.startswith("# Results") and text.endswith("\n\n## What a is\n\nx: 3\n")
    assert "What b is" not in text and "x: 3" not in render(found, results)


def test_numbers_of_an_earlier_version_do_not_stop_the_table() -> None:
    old = Benchmark(
        "old",
        "what old does",
        lambda quick: {},
        (Row("what old is", lambda numbers: f"{numbers['new']}"),),
        section=lambda numbers: f"{numbers['new']}",
    )
    found = {"old": old, "b": benchmark("b")}
    results = {"old": entry({}), "b": entry({"x": 2.0})}
    text = render(found, results)
    assert "run it again" in details(found, results)
    assert "run it again | - |" in lines(text)[0]
    assert lines(text)[1] == "| what b is | - | - | 2.0 | - |"


def test_only_what_stands_between_the_markers_changes() -> None:
    text = f"before\n{START}\nold\n{END}\nafter\n"
    once = between_markers(text, "new\n")
    assert once == f"before\n{START}\n\nnew\n\n{END}\nafter\n"
    assert between_markers(once, "new\n") == once


@pytest.mark.parametrize(
    "text", ["", START, f"{END}\n{START}\n", f"{START}{END}{START}{END}"], ids=len
)
def test_missing_or_doubled_markers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each, in this order"):
        between_markers(text, "new")
