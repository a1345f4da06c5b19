"""Files in the form of MovieLens and the Open Bandit Dataset."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from offline.log import COLUMNS, Rows, concatenate, open_log
from offline.tables import app


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def read(folder: Path) -> Rows:
    return concatenate(list(open_log(folder).batches(columns=tuple(COLUMNS))))


def test_movielens(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv.gz").write_bytes(
        gzip.compress(b"userId,movieId,rating,timestamp\n1,7,2.5,100\n1,9,4.0,160\n2,9,5.0,90\n")
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n7,"Seven, the film (1995)",Crime|Thriller\n'
        "9,Nine,(no genres listed)\n11,Eleven (2005),Crime\n"
    )
    found = run("--movielens", tmp_path, "--out", tmp_path / "log")
    assert found.exit_code == 0, found.output
    rows = read(tmp_path / "log")
    assert sorted(rows["reward"].tolist()) == [2.5, 4.0, 5.0]
    spec = open_log(tmp_path / "log").header.spec
    assert [(f.name, f.size) for f in spec.candidate] == [("genres", 2), ("year", 1)]
    place = rows["candidate_ids"][0].tolist()
    # Years 1995 and 2005: mean 2000, deviation 5; one that is missing counts as the mean.
    assert rows["candidates"][0, place.index("7")].tolist() == [1, 1, -1]
    assert rows["candidates"][0, place.index("9")].tolist() == [0, 0, 0]


ITEMS = """,item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3
0,0,-1.0,{a},{c},e
1,1,0.0,{b},{c},e
2,2,1.0,{a},{d},e
"""
HEAD = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,"
    "user_feature_2,user_feature_3,user-item_affinity_0\n"
)
SEEN = (
    "0,2019-11-24 00:00:10.500000+00:00,1,3,0,{p},u0,u1,u2,u3,0.0\n"
    "1,2019-11-24 00:00:12+00:00,2,1,1,{p},v0,u1,u2,u3,0.0\n"
)


def campaign(
    folder: Path, policy: str, propensity: str, names: str = "abcd", seen: str = SEEN
) -> Path:
    place = folder / policy / "men"
    place.mkdir(parents=True)
    (place / "item_context.csv").write_text(ITEMS.format(**dict(zip("abcd", names, strict=True))))
    text = HEAD + seen.format(p=propensity)
    (place / "men.csv.gz").write_bytes(gzip.compress(text.encode()))
    return place


def test_open_bandit(tmp_path: Path) -> None:
    place = campaign(tmp_path, "random", repr(1 / 3))
    found = run("--open-bandit", place, "--out", tmp_path / "log")
    assert found.exit_code == 0, found.output
    rows = read(tmp_path / "log")
    assert rows["candidate_ids"].tolist() == [["0", "1", "2"]] * 2
    assert rows["slate"].tolist() == [[1], [2]] and rows["reward"].tolist() == [0, 1]
    assert rows["log_propensity"].tolist() == pytest.approx([np.log(1 / 3)] * 2)
    assert set(rows["propensity_source"]) == {"exact"} and set(rows["policy"]) == {"random"}
    assert rows["epsilon"].tolist() == [1, 1]  # the whole distribution is known: uniform
    assert rows["time"].tolist() == [1574553610.5, 1574553612.0]
    assert rows["terminated"].all() and rows["step"].tolist() == [0, 0]
    # Positions 1, 2, 3; then u0 or v0; then one value each.
    assert rows["user"].tolist() == [[0, 0, 1, 1, 0, 1, 1, 1], [1, 0, 0, 0, 1, 1, 1, 1]]


def test_both_policies_logs_agree(tmp_path: Path) -> None:
    """Their files hash one partition of the items differently, and may lack some users."""
    first = campaign(tmp_path, "random", repr(1 / 3))
    one = SEEN.splitlines(keepends=True)[0]
    second = campaign(tmp_path, "bts", "1e-06", "qzyx", one)
    assert run("--open-bandit", first, "--out", tmp_path / "a").exit_code == 0
    found = run("--open-bandit", second, "--encoding", tmp_path / "a", "--out", tmp_path / "b")
    assert found.exit_code == 0, found.output
    rows, others = read(tmp_path / "a"), read(tmp_path / "b")
    assert (rows["candidates"][0] == others["candidates"][0]).all()
    assert (rows["user"][0] == others["user"][0]).all()
    assert others["log_propensity"][0] == pytest.approx(np.log(1e-6))
    assert np.isnan(others["epsilon"]).all()  # of the others nothing is known
    assert sum(map(len, open_log([tmp_path / "a", tmp_path / "b"]).batches())) == 3


@pytest.mark.parametrize(
    ("propensity", "seen", "sentence"),
    [
        ("0.0", SEEN, "men.csv.gz:2: the propensity is not above 0 and at most 1"),
        ("1.5", SEEN, "men.csv.gz:2: the propensity is not above 0"),
        (
            "0.3",
            SEEN.replace(",2,1,1,", ",9,1,1,"),
            "men.csv.gz:3: the item is not in item_context",
        ),
        ("0.3", SEEN.replace(",2,1,1,", ",2,1,7,"), "men.csv.gz:3: the click is neither 0 nor 1"),
        ("often", SEEN, "cannot be read as the Open Bandit Dataset"),
        ("0.3", "", "holds no rows"),
    ],
)
def test_faults_are_one_sentence(tmp_path: Path, propensity: str, seen: str, sentence: str) -> None:
    place = campaign(tmp_path, "random", propensity, seen=seen)
    found = run("--open-bandit", place, "--out", tmp_path / "log")
    assert found.exit_code == 2 and sentence in found.stderr, found.output
    assert found.stderr.count("\n") == 1 and not (tmp_path / "log").exists()


def test_ids_and_encodings_of_something_else(tmp_path: Path) -> None:
    place = campaign(tmp_path, "random", "0.3")
    context = place / "item_context.csv"
    (tmp_path / "i.csv").write_text("item_id,price\n0,1\n")
    (tmp_path / "n.csv").write_text("user_id,item_id,timestamp\nu,0,1\n")
    tables = ["--interactions", tmp_path / "n.csv", "--items", tmp_path / "i.csv"]
    assert run(*tables, "--out", tmp_path / "own").exit_code == 0
    found = run("--open-bandit", place, "--encoding", tmp_path / "own", "--out", tmp_path / "log")
    assert found.exit_code == 2 and "has no features of users" in found.stderr
    context.write_text(context.read_text().replace("\n1,1,", "\n1,one,"))
    found = run("--open-bandit", place, "--out", tmp_path / "log")
    assert found.exit_code == 2 and not (tmp_path / "log").exists()
    assert "item_context.csv:3: item_id is 'one'; ids of this data set" in found.stderr
