from __future__ import annotations

import json
import platform
from pathlib import Path

from benchmarks.results import entry, machine, merged, read_results, write_results


def test_merging_replaces_one_and_keeps_the_others() -> None:
    results = {"b": {"numbers": {"x": 1}}, "a": {"numbers": {"x": 2}}}
    assert merged(results, "b", {"numbers": {"y": 3}}) == {
        "a": {"numbers": {"x": 2}},
        "b": {"numbers": {"y": 3}},
    }
    assert list(merged(results, "c", {})) == ["a", "b", "c"]
    assert results["b"] == {"numbers": {"x": 1}}


def test_results_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_results(path) == {}
    results = {"a": entry({"x": 1.5}, other_load=0.123, wall_seconds=9.6)}
    write_results(results, path)
    assert read_results(path) == results
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_an_entry_says_when_and_where_but_not_whose_machine() -> None:
    found = entry({"x": 1}, other_load=0.126, wall_seconds=9.6)
    assert found["numbers"] == {"x": 1}
    assert (found["other_load"], found["wall_seconds"]) == (0.13, 10)
    assert set(machine()) == {"cpu", "cores", "memory_gb", "system", "versions"}
    assert platform.node() not in json.dumps(found)
