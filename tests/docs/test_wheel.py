"""The wheel holds our packages, their configs and the marks of typed packages, and no more."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PACKAGES = ("envs", "algorithms", "offline", "serve", "configs")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").read_text() == ""


@pytest.mark.slow
def test_the_wheel_holds_what_is_needed_and_no_more(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        f"{sys.executable} -m pip wheel --quiet --no-deps --no-build-isolation "
        f"--wheel-dir {built} {source}".split(),
        check=True,
    )
    (wheel,) = built.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in inside} == set(PACKAGES)
    for package in PACKAGES:
        kept = {
            path.relative_to(source).as_posix()
            for pattern in ("*.py", "*.yaml", "py.typed")
            for path in (source / package).rglob(pattern)
        }
        found = {name for name in inside if name.startswith(f"{package}/")}
        assert kept <= found, sorted(kept - found)[:5]
        assert not [name for name in found if "test" in name.split("/")[-1].split("_")[0]]
