"""Imports run one way: envs, algorithms, offline, serve."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"envs", "algorithms", "offline", "serve"}
MAY_IMPORT = {
    "envs": {"envs"},
    "algorithms": {"envs", "algorithms"},
    "offline": {"envs", "algorithms", "offline"},
    "serve": OURS,
}


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_one_way(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        beyond = (imported(path) & (OURS | {"tests", "benchmarks"})) - MAY_IMPORT[package]
        # In the package called serve, `from ray import serve` is Ray's.
        assert not beyond, f"{path.relative_to(ROOT)} imports {', '.join(sorted(beyond))}"


def test_importing_envs_registers_the_worlds_without_ray() -> None:
    program = (
        "import sys, envs, gymnasium\n"
        "assert 'ray' not in sys.modules and 'recsim' not in sys.modules\n"
        "assert all(envs.gymnasium_id(name) in gymnasium.registry for name in envs.world_names())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_reading_and_writing_logs_needs_no_ray() -> None:
    program = "import sys, offline.log\nassert 'ray' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
