from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algorithms import strict_yaml

SMALL = {
    "train.env_steps": 1024,
    "train.users": 16,
    "train.fragment": 16,
    "train.evaluate_every": None,
    "train.checkpoint_every": 512,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the file of a small comparison, with some keys changed."""

    def file(**changes: Any) -> Path:
        data = {
            "seeds": [0, 1],
            "environments": ["interest_evolution"],
            "against": "random",
            "set": SMALL,
            "evaluate": {"users": 20, "backend": "torch"},
            "entries": [
                {
                    "algorithm": "slateq",
                    "label": "SlateQ",
                    "set": {"slateq.hidden": [8], "slateq.stagger_steps": 4},
                },
                {"algorithm": "random", "published": 160.5},
            ],
            **changes,
        }
        path = tmp_path / "small.yaml"
        path.write_text(strict_yaml.dump(data))
        return path

    return file
