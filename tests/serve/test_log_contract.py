"""What an endpoint logs is what `offline` reads, once responses are joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from offline.log import Header, open_log
from offline.log.schema import COLUMNS
from offline.observed import STATED, distributions
from serve.row import AFTER
from serve.schemas import example_responses
from tests.serve.conftest import Ask, Endpoint, policy_of


def test_impressions_with_responses_are_rows_of_the_log(
    endpoint: Endpoint, ask: Ask, header: Header, tmp_path: Path
) -> None:
    engine = endpoint.engine(policy_of(header, 0.3, 0.5), policy_of(header, 0.2), weights=(1, 1))
    wishes: list[dict[str, Any]] = [
        {},
        {"excluded": ["item-1"]},
        {"pinned": [{"slot": 0, "id": "item-2"}], "epsilon": 0.4},
        {"slate_size": 2, "eligible": ["item-3", "item-4", "item-5"]},
    ]
    for wish in wishes * 5:
        first = engine.recommend([ask(engine, **wish)])[0]
        given = example_responses(header.spec, len(first.drawn.slate))
        engine.recommend([ask(engine, **wish, session=first.token, responses=given)])
    lines = endpoint.lines()
    folder = tmp_path / "joined"
    header.write(folder)
    with (folder / "part-0.jsonl").open("w") as stream:
        for line in lines:
            row = {name: line[name] for name in line if name not in AFTER}
            slots = len(row["slate"])
            joined = {
                "response": [0.0] * (24 * slots),
                "reward": 0.0,
                "terminated": line["step"] == 1,
                "truncated": False,
            }
            whole = {**row, **joined}
            stream.write(json.dumps({name: whole[name] for name in COLUMNS}) + "\n")
    (rows,) = open_log(folder).sessions(columns=[*COLUMNS])
    assert len(rows) == 40
    assert set(rows["arm"].tolist()) == {"arm-0", "arm-1"}
    for index, stated in distributions(rows.take(slice(None))):
        slates = torch.from_numpy(rows["slate"][index][:, : stated.slate_size])
        logged = rows["slot_log_propensities"][index][:, : stated.slate_size]
        np.testing.assert_allclose(stated.slot_log_prob(slates), logged, rtol=1e-5, atol=1e-6)
    assert set(STATED) <= set(rows.columns)
