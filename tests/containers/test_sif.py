"""Image files are read as the format says, and what is none is refused in a sentence."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.container.sif import HEADER, Image
from bench.errors import UserError
from tests.containers.sifs import DEFINITION, LABELS, ROOT, write_sif


def test_digest_labels_and_definition(tmp_path: Path) -> None:
    image = Image.open(write_sif(tmp_path / "a.sif"))
    assert image.digest() == f"sha256:{hashlib.sha256(ROOT).hexdigest()}"
    assert image.labels == LABELS
    assert image.definition == DEFINITION


def test_the_digest_is_that_of_the_root_alone(tmp_path: Path) -> None:
    first = Image.open(write_sif(tmp_path / "a.sif")).digest()
    assert Image.open(write_sif(tmp_path / "b.sif", labels={"other": "1"}, definition="x")).digest() == first
    assert Image.open(write_sif(tmp_path / "c.sif", root=ROOT[:-1] + b"?")).digest() != first


@pytest.mark.parametrize("roots", [0, 2])
def test_an_image_has_one_root(tmp_path: Path, roots: int) -> None:
    with pytest.raises(UserError, match="no single squashfs root"):
        Image.open(write_sif(tmp_path / "a.sif", roots=roots)).digest()


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="check the path"):
        Image.open(tmp_path / "none.sif")
    with pytest.raises(UserError, match="check the path"):
        Image.open(tmp_path)
    text = tmp_path / "text.sif"
    text.write_text("no image " * 100)
    with pytest.raises(UserError, match="is no image"):
        Image.open(text)
    whole = write_sif(tmp_path / "a.sif").read_bytes()
    (tmp_path / "cut.sif").write_bytes(whole[:-100])
    with pytest.raises(UserError, match="cut short"):
        Image.open(tmp_path / "cut.sif")


@settings(max_examples=200)
@given(at=st.integers(0, HEADER.size + 4 * 585 - 1), value=st.integers(0, 255), length=st.integers(0, 9000))
def test_a_damaged_image_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, length: int
) -> None:
    path = write_sif(tmp_path_factory.mktemp("sif") / "a.sif")
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data[: len(data) - length])
    with contextlib.suppress(UserError):
        image = Image.open(path)
        image.digest()
        assert isinstance(image.labels, dict)
        assert isinstance(image.definition, str)
