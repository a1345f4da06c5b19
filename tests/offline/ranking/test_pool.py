"""What stands beside a taken item: what had come up by then, or what ever does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from offline.log import concatenate, open_log
from offline.tables import app

ITEMS = 30


def beside(folder: Path, *words: str) -> np.ndarray:
    """Numbers of the candidates of each row; item t is taken at minute t, by one user."""
    folder.mkdir()
    rows = "".join(f"u,{number},{60 * number}\n" for number in range(ITEMS))
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows)
    items = "".join(f"{number},{number % 2}\n" for number in range(ITEMS))
    (folder / "items.csv").write_text("item_id,odd\n" + items)
    named = [f"--{name}={folder / name}.csv" for name in ("interactions", "items")]
    found = CliRunner().invoke(app, [*named, f"--out={folder / 'log'}", "--negatives=4", *words])
    assert found.exit_code == 0, found.output
    read = open_log(folder / "log").batches(columns=("candidate_ids",))
    return concatenate(list(read))["candidate_ids"].astype(int)


def test_what_had_come_up_by_then_or_ever_does(tmp_path: Path) -> None:
    then = beside(tmp_path / "then")
    ever = beside(tmp_path / "ever", "--pool", "ever")
    row = np.arange(ITEMS)
    # Before five items have come up, the first five are taken.
    assert (then.max(axis=1) <= np.maximum(row, 4)).all()
    assert (ever[:5].max(axis=1) > 4).all()
    for candidates in (then, ever):
        assert (candidates == row[:, None]).sum(axis=1).tolist() == [1] * ITEMS


@pytest.mark.parametrize("words", [["--pool", "always"], ["--open-bandit", "x", "--pool", "ever"]])
def test_another_pool_is_refused_in_a_sentence(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id,timestamp\nu,1,0\n")
    (tmp_path / "b.csv").write_text("item_id,odd\n1,1\n")
    tables = [f"--interactions={tmp_path / 'a.csv'}", f"--items={tmp_path / 'b.csv'}"]
    given = words if "--open-bandit" in words else [*tables, *words]
    found = CliRunner().invoke(app, [*given, f"--out={tmp_path / 'log'}"])
    assert found.exit_code == 2 and "--pool" in found.output
    assert found.stderr.count("\n") == 1 and not (tmp_path / "log").exists()
