"""Building goes step by step, replaces an image by a whole one alone, and says where it failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.container.build import EPOCH, build
from bench.errors import UserError

RUNTIME = """#!{python}
import json, os, sys
from pathlib import Path
image = Path(sys.argv[-2])
image.write_text("half")
if Path("fail").exists():
    sys.exit(3)
image.write_text(json.dumps({{"words": sys.argv[1:], "epoch": os.environ["SOURCE_DATE_EPOCH"]}}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    containers = tmp_path / "checkout" / "containers"
    containers.mkdir(parents=True)
    (containers / "images").mkdir()
    (containers / "v100.def").touch()
    script = containers / "wheelhouse.sh"
    script.write_text('#!/bin/sh\nmkdir -p "$2"; echo "$1" >"$2/filled"\n')
    script.chmod(0o755)
    return containers.parent


@pytest.fixture
def runtime(tmp_path: Path) -> str:
    path = tmp_path / "apptainer"
    path.write_text(RUNTIME.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_the_wheelhouse_is_filled_and_the_definition_built_as_it_is(checkout: Path, runtime: str) -> None:
    image = checkout / "containers/images/v100.sif"
    said: list[str] = []
    build(runtime, "v100", checkout, image, said.append)
    assert (checkout / "containers/wheelhouse/gpu/filled").read_text() == "gpu\n"
    done = json.loads(image.read_text())
    assert done["words"][0] == "build"
    assert done["words"][-1] == "containers/v100.def"
    assert "commit=unknown" in done["words"]
    assert done["epoch"] == EPOCH
    assert len(said) == 2
    assert [path.name for path in image.parent.iterdir()] == ["v100.sif"]


def test_the_commit_is_named_with_what_stands_beside_it(checkout: Path, runtime: str) -> None:
    (checkout / ".gitignore").write_text("containers/images/\ncontainers/wheelhouse/\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(checkout), *words], check=True)
    head = subprocess.run(
        ["git", "-C", str(checkout), "log", "-1", "--format=%H %ct"], check=True, capture_output=True, text=True
    ).stdout.split()
    image = checkout / "containers/images/v100.sif"
    build(runtime, "v100", checkout, image, lambda _: None)
    done = json.loads(image.read_text())
    assert f"commit={head[0]}" in done["words"]
    assert done["epoch"] == head[1]
    (checkout / "new.txt").touch()
    build(runtime, "v100", checkout, image, lambda _: None)
    assert f"commit={head[0]}+changes" in json.loads(image.read_text())["words"]


def test_a_build_that_fails_leaves_the_image_that_was_there(checkout: Path, runtime: str) -> None:
    image = checkout / "containers/images/v100.sif"
    image.write_text("the old one")
    (checkout / "fail").touch()
    with pytest.raises(UserError, match="apptainer ended with status 3"):
        build(runtime, "v100", checkout, image, lambda _: None)
    assert image.read_text() == "the old one"
    assert [path.name for path in image.parent.iterdir()] == ["v100.sif"]


def test_a_place_that_cannot_hold_an_image_is_refused_at_once(checkout: Path, runtime: str) -> None:
    for place in (checkout, checkout / "none" / "x.sif"):
        with pytest.raises(UserError, match="give a file in a folder that is there"):
            build(runtime, "v100", checkout, place, lambda _: None)
    assert not (checkout / "containers/wheelhouse").exists()


def test_without_a_definition_nothing_starts(checkout: Path, runtime: str) -> None:
    with pytest.raises(UserError, match=r"no definition containers/a100\.def"):
        build(runtime, "a100", checkout, checkout / "a100.sif", lambda _: None)
