"""What the command tells the pages: one JSON file, named by the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "RECSIM_DEMO"
"""Of the environment: path of the file."""


@dataclass(frozen=True)
class Context:
    """Where the pages find things.

    Attributes:
        url: of the endpoint.
        target: what is served, as the command was told.
        state: folder of the endpoint.
        world: arguments of `envs.registry.make_simulator` with the policy's history;
            `None` where the policy was trained on own data.
        seed: of the users' luck.
        catalogue: whether the endpoint has items of its own.
        api_key_file: with the endpoint's key; else the environment has it, or there is none.
        ope: results of `offline.evaluate --json`, and pictures.
    """

    url: str
    target: str
    state: str
    world: dict[str, Any] | None = None
    seed: int = 0
    catalogue: bool = False
    api_key_file: str | None = None
    ope: list[str] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls) -> Context:
        """The file that the environment names.

        Raises:
            ValueError: it names none that can be read.
        """
        path = os.environ.get(VARIABLE, "")
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise ValueError(
                "these pages belong to a command; start them with `python -m serve.demo RUN`"
            ) from None
