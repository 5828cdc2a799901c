"""The bill of materials is valid CycloneDX, names every package, and has the same bytes for the same image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.container.bom import bill_of_materials
from bench.container.contents import Contents, Package, contents_of
from bench.container.sif import Image
from bench.errors import UserError
from tests.containers.pretend import COMMIT, files, sif

pytest.importorskip("cyclonedx")


@pytest.fixture(scope="module")
def contents() -> Contents:
    return contents_of(files())


def bill(tmp_path: Path, contents: Contents, **changed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bill_of_materials(Image.open(sif(tmp_path, **changed)), contents))
    return found


def test_all_packages_with_version_licence_and_url(tmp_path: Path, contents: Contents) -> None:
    found = bill(tmp_path, contents)
    listed = {part["purl"]: part for part in found["components"]}
    assert len(listed) == len(contents.python) + len(contents.debian)
    numpy = listed["pkg:pypi/numpy@2.4.6"]
    assert (numpy["name"], numpy["version"], numpy["licenses"]) == ("numpy", "2.4.6", [{"license": {"id": "MIT"}}])
    assert "pkg:pypi/torch@2.13.0%2Bcpu" in listed
    base = listed["pkg:deb/debian/base-files@12.4?arch=amd64&distro=bookworm"]
    assert base["licenses"] == [{"license": {"id": "MIT"}}]


def test_it_says_which_image(tmp_path: Path, contents: Contents) -> None:
    image = Image.open(sif(tmp_path, source_date_epoch="86400"))
    found = json.loads(bill_of_materials(image, contents))
    described = found["metadata"]["component"]
    assert (described["type"], described["name"], described["version"]) == ("container", "sweepmark-cpu", COMMIT)
    assert described["hashes"] == [{"alg": "SHA-256", "content": image.digest().removeprefix("sha256:")}]
    assert found["metadata"]["timestamp"] == "1970-01-02T00:00:00+00:00"
    (whole,) = (part for part in found["dependencies"] if part["ref"] == described["bom-ref"])
    assert len(whole["dependsOn"]) == len(found["components"])


def test_the_same_image_gives_the_same_bytes(tmp_path: Path, contents: Contents) -> None:
    """Also in another process, whose sets have another order, and with the packages in another order."""
    path = sif(tmp_path)
    script = f"""
from pathlib import Path
from bench.container.bom import bill_of_materials
from bench.container.contents import contents_of
from bench.container.sif import Image
from tests.containers.pretend import files
held = dict(reversed(files().items()))
print(bill_of_materials(Image.open(Path({str(path)!r})), contents_of(held)), end="")
"""
    again = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".", "TZ": zone},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]
    here = bill_of_materials(Image.open(path), contents)
    assert again == [here, here]
    assert here.endswith("}\n")


def test_it_is_valid(tmp_path: Path, contents: Contents) -> None:
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    said = [
        (),
        ("MIT",),
        ("mit",),
        ("Apache-2.0 OR MIT",),
        ("Apache-2.0", "GPL-2+ and others"),
        ("(((",),
        ("MIT AND",),
        ("AND",),
        ("BSD License",),
        ("MIT", "Expat or [x]", "MIT OR ISC"),
        ("<script>",),
        ("\U0001f40d",),
    ]
    strange = {
        f"a{i}": Package(version="1~2+b:3!4", licences=licences, architecture="") for i, licences in enumerate(said)
    }
    more = Contents(
        python=contents.python | strange,
        python_version="3.11",
        debian=contents.debian | strange,
        distribution="ubuntu",
        release="noble",
        kept={},
    )
    text = bill_of_materials(Image.open(sif(tmp_path, profile="\x1b[2J\0", commit="x" * 9999)), more)
    try:
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    except MissingOptionalDependencyException as missing:
        pytest.skip(f"the schema cannot be checked: {missing}")


@pytest.mark.parametrize("said", ["", "x", "-1", "1e9", "9" * 40, "0" * 20 + "9" * 50, "٣", "1.5", "1 "])
def test_a_source_date_that_is_none_is_refused(tmp_path: Path, contents: Contents, said: str) -> None:
    with pytest.raises(UserError, match="is no time in seconds since"):
        bill(tmp_path, contents, source_date_epoch=said)
