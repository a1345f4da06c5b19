"""The command: results that were worked out by hand, and what users get wrong."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offline.rank import app
from offline.ranking.evaluating import NAMES, Measured
from offline.ranking.report import show
from tests.offline.ranking.tables import MOVIES, RATINGS, movielens, own

DATA = os.environ.get("RECSIM_MOVIELENS")
"""Folder of MovieLens' latest small release of October 2016, which cannot be shipped."""


def rank(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def results(*words: Any) -> dict[str, dict[str, Any]]:
    found = rank(*words, "--json")
    assert found.exit_code == 0, found.output
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return {line["scorer"]: line for line in lines}


@pytest.mark.parametrize("make", [movielens, own])
@pytest.mark.parametrize("packed", [False, True])
def test_popularity_by_hand(tmp_path: Path, make: Callable[..., Path], packed: bool) -> None:
    # 10, 20 and 30 have three takers each, 9 and 40 none: ranked 10, 20, 30, 9, 40. Unseen:
    #   user 1: 9, [40]        place 2
    #   user 2: [20], 9, 40    place 1
    #   user 3: [10], 20       place 1
    #   user 4: [30], 9        place 1
    #   user 5: [10], 30       place 1
    found = results("popularity", "--data", make(tmp_path, packed=packed), "--k", "2")
    line = found["popularity"]
    assert line["ndcg@2"] == pytest.approx((1 / math.log2(3) + 4) / 5)
    assert line["map@2"] == pytest.approx((0.5 + 4) / 5)
    assert (line["recall@2"], line["hit_rate@2"], line["precision@2"]) == (1.0, 1.0, 0.5)
    # Shown: 9 and 40; 20 and 9; 10 and 20; 30 and 9; 10 and 30. All five items, twice or
    # thrice or (40) once: 1, 2, 2, 2, 3.
    assert line["coverage@2"] == 1.0
    assert line["gini@2"] == pytest.approx(2 * (1 + 4 + 6 + 8 + 15) / (5 * 10) - 6 / 5)
    # Bits: log2(6 / 4) for three of five takers, log2(6) for none.
    three, none = math.log2(6 / 4), math.log2(6)
    assert line["novelty@2"] == pytest.approx((6 * three + 4 * none) / 10)
    assert line["users"] == 5 and line["learned_from"] == 9 and line["items"] == 5


def test_popularity_on_the_validation_part_knows_less(tmp_path: Path) -> None:
    # Of user 1 item 30, of 2 item 30, of 4 item 10 (tied with 30, smaller); 3 and 5 have none.
    found = results("popularity", "--data", movielens(tmp_path), "--on", "validation", "--k", "1")
    # Left: 10 from 1, 2; 20 from 1, 4, 5; 30 from 3. Tops: 30 for user 1; 20 for 2; 10 for 4.
    line = found["popularity"]
    assert (line["users"], line["learned_from"], line["recall@1"]) == (3, 6, pytest.approx(2 / 3))


def test_text_ends_with_a_line_that_says_it_all(tmp_path: Path) -> None:
    found = rank("popularity", "random", "--data", movielens(tmp_path), "--k", "2")
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines()[-1].startswith("popularity: ndcg@2 0.9262, recall@2 1.0000; ")


def test_every_scorer_ranks(tmp_path: Path) -> None:
    names = ["popularity", "random", "item_knn", "als", "bpr", "q_learning", "linucb", "ucb1"]
    words = ["--set", "ucb1.feedback=click", "--set", "ucb1.arm_feature=item_id"]
    data = movielens(tmp_path)
    found = results(*names, *words, "--data", data, "--k", "2")
    assert list(found) == names
    for line in found.values():
        assert 0 < line["hit_rate@2"] <= 1 and 0 < line["coverage@2"] <= 1
    assert found == results(*names, *words, "--data", data, "--k", "2")  # the same again


def test_settings_and_seeds_change_what_is_ranked(tmp_path: Path) -> None:
    data = movielens(tmp_path)

    def score(*words: str) -> dict[str, Any]:
        (line,) = results(*words, "--data", data, "--k", "1").values()
        return line

    assert score("item_knn") != score("item_knn", "--set", "item_knn.neighbours=1")
    assert score("random") != score("random", "--seed", "2")
    chosen = score("popularity", "--metrics", "gini,ndcg@1")
    assert "gini@1" in chosen and "ndcg@1" in chosen and "recall@1" not in chosen
    by_year = score("popularity", "--groups", "title")
    assert by_year["calibration_kl@1"] != score("popularity")["calibration_kl@1"]
    file = data / "settings.yaml"
    file.write_text("item_knn: {neighbours: 1}\n")
    assert score("item_knn", "--config", str(file)) == score(
        "item_knn", "--set", "item_knn.neighbours=1"
    )
    by_time = score("popularity", "--split", "time", "--share", "0.3")
    assert (
        by_time["held_out"] != score("popularity", "--split", "time", "--share", "0.5")["held_out"]
    )


def test_the_parts_are_written_as_tables(tmp_path: Path) -> None:
    data = movielens(tmp_path / "data")
    found = rank("--data", data, "--write-split", tmp_path / "parts")
    assert found.exit_code == 0, found.output
    texts = {path.name: path.read_text().split() for path in (tmp_path / "parts").iterdir()}
    count = {name: len(lines) - 1 for name, lines in texts.items() if name != "items.csv"}
    assert count == {
        "train.csv": 6,
        "validation.csv": 3,
        "test.csv": 5,
        "train_and_validation.csv": 9,
        "users.csv": 5,
    }
    assert '"4","30",20,3' in texts["test.csv"] and '"4","10",20,5' in texts["validation.csv"]
    again = rank("--data", data, "--write-split", tmp_path / "parts")
    assert again.exit_code == 2 and "is there already" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["popularty"], "did you mean 'popularity'?"),
        ([], "name what should rank"),
        (["popularity", "popularity"], "named twice"),
        (["popularity", "--k", "0"], "--k is 0, and the catalogue has 5 items"),
        (["popularity", "--k", "6"], "--k is 6, and the catalogue has 5 items"),
        (["popularity", "--metrics", "ndcgg@10"], "did you mean 'ndcg'?"),
        (["popularity", "--metrics", "ndcg@5"], "names 'ndcg@5', but --k is 10"),
        (["popularity", "--split", "random"], "--split is 'random'; allowed are"),
        (["popularity", "--split", "time", "--share", "1"], "--share is 1"),
        (["popularity", "--share", "0.5"], "--share changes nothing"),
        (
            ["popularity", "--k", "2", "--on", "train"],
            "--on is 'train'; allowed are: test, validation",
        ),
        (["popularity", "--groups", "genre"], "did you mean 'genres'?"),
        (["popularity", "--set", "item_knn.neighbours=3"], "not among the scorers named"),
        (["item_knn", "--set", "item_knn.neighbors=3"], "did you mean 'neighbours'?"),
        (["item_knn", "--set", "item_knn.neighbours=0"], "item_knn.neighbours"),
        (["popularity", "--encoding", "x"], "--encoding is about policies"),
        (["popularity", "--seed", "-1"], "--seed is -1"),
        (["popularity", "--write-split", "x"], "leave the names of scorers out"),
        (["--write-split", "x", "--k", "3"], "--k changes nothing with --write-split"),
        (["--write-split", "x", "--set", "als.factors=4"], "--set changes nothing"),
        (["."], "holds no policy"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    found = rank(*words, "--data", movielens(tmp_path))
    assert found.exit_code == 2 and said in found.stderr, found.output
    assert found.stderr.count("\n") == 1 and not found.stdout


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ratings": RATINGS.replace("300", "soon")}, "ratings.csv:4: 'timestamp' is 'soon'"),
        ({"ratings": RATINGS.replace("movieId", "film")}, "ratings.csv:1: there is no column"),
        ({"ratings": RATINGS.replace("1,40,", "1,41,")}, "ratings.csv:5: item '41' is not in"),
        ({"ratings": "userId,movieId,rating,timestamp\n"}, "holds no rows"),
        ({"movies": MOVIES + "10,Ten again,Drama\n"}, "movies.csv:7: movieId '10' stands twice"),
    ],
)
def test_faulty_files_are_one_sentence(tmp_path: Path, files: dict[str, str], said: str) -> None:
    found = rank("popularity", "--data", movielens(tmp_path, **files))
    assert found.exit_code == 2 and said in found.stderr, found.output
    assert found.stderr.count("\n") == 1


def test_one_that_fails_does_not_take_earlier_results_along(tmp_path: Path) -> None:
    words = ["popularity", "ucb1", "--set", "ucb1.arm_feature=colour", "--k", "2"]
    found = rank(*words, "--data", movielens(tmp_path))
    assert found.exit_code == 2 and "popularity: ndcg@2 0.9262" in found.stdout
    assert found.stderr.startswith("'ucb1' cannot learn from these data: arm_feature is 'colour'")
    assert found.stderr.count("\n") == 1


def test_no_data_no_folder_no_files(tmp_path: Path) -> None:
    for words in (["--data", tmp_path / "none"], ["--data", tmp_path], []):
        found = rank("popularity", *words)
        assert found.exit_code == 2 and found.stderr.count("\n") == 1, found.output


def test_without_the_library_one_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    found = rank("als", "--k", "2", "--data", movielens(tmp_path))
    assert found.exit_code == 2 and "pip install 'rllib-recsim[rank]'" in found.stderr


def test_factors_that_are_not_finite_are_a_sentence(tmp_path: Path) -> None:
    words = ["--k", "2", "--data", movielens(tmp_path), "--set", "bpr.learning_rate=1e30"]
    found = rank("bpr", *words)
    assert found.exit_code == 2 and found.stderr.count("\n") == 1
    assert "bpr found no finite factors; lower its learning rate" in found.stderr


def test_a_narrow_terminal_gets_a_line_for_each_metric(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values: dict[str, float | None] = dict.fromkeys(NAMES, 0.25)
    found = [(f"runs/a-long-name[{n}]", Measured(values, {"ndcg": 0.01}, 9)) for n in "xy"]

    def said() -> str:
        show(found, 10, NAMES)
        out = capsys.readouterr().out
        assert "…" not in out and "runs/a-long-name[x]" in out
        return out

    piped = said().splitlines()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    narrow = said().splitlines()
    assert len(narrow) - len(piped) == len(NAMES) - len(found)
    assert max(map(len, narrow[:-1])) <= 80


@pytest.mark.skipif(DATA is None, reason="RECSIM_MOVIELENS names no folder")
def test_popularity_on_movielens() -> None:
    line = results("popularity", "--data", DATA)["popularity"]
    assert line["ndcg@10"] == pytest.approx(0.0198, abs=5e-5)
    assert line["recall@10"] == pytest.approx(0.0432, abs=5e-5)
    assert line["users"] == 671
