from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from envs.history import History, Term
from offline.learning.history import remember
from offline.log import open_log
from offline.record import app
from tests.offline.log.made import SPEC, make_rows


def test_by_hand() -> None:
    rows = make_rows(sessions=2, steps=3)
    response = np.zeros((6, 2, 2), np.float32)
    # Clicks on slot 1 with these watch times, the first session's and the second's.
    response[:, 1, 0] = 1
    response[:, 1, 1] = [1, 2, 4, 10, 20, 40]
    history = History(SPEC, (Term("watch_time", 0.5), Term("time", scale=0.1)))
    found = remember(rows.replace(response=response), history)["history"]
    # h' = h / 2 + watch time; steps so far times 0.1.
    expected = [[0, 0], [1, 0.1], [2.5, 0.2], [0, 0], [10, 0.1], [25, 0.2]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("world", ["interest_evolution", "modified_long_term_satisfaction"])
def test_what_was_kept_while_logging_comes_out_again(world: str, tmp_path: Path) -> None:
    arguments = ["random", "--set", f"env.name={world}", "--users", "5", "--out", f"{tmp_path}/log"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    log = open_log(tmp_path / "log")
    assert log.header.history is not None and log.header.history.size
    rows = next(log.sessions())
    found = remember(rows.replace(history=np.zeros((len(rows), 0), np.float32)), log.header.history)
    torch.testing.assert_close(
        torch.from_numpy(found["history"]), torch.from_numpy(rows["history"]), rtol=1e-5, atol=1e-5
    )
