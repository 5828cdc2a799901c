"""An image that agrees with itself and with the checkout passes every check; each difference fails its own."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.container import verify as module
from bench.container.contents import Contents, contents_of
from bench.container.sif import Image
from bench.container.verify import Check, verify
from bench.errors import UserError
from tests.containers.pretend import COMMIT, ROOT, SITE, files, metadata, resolved, sif


@pytest.fixture(autouse=True)
def commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "git_state", lambda folder: {"commit": COMMIT, "clean": True})


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.said for check in checks if not check.passed}


def checked(tmp_path: Path, held: dict[str, bytes] | None = None, /, **changed: str) -> dict[str, str]:
    """What fails, for an image with those files and labels."""
    return failed(verify(Image.open(sif(tmp_path, **changed)), contents_of(held or files()), ROOT))


@pytest.mark.parametrize("name", ["cpu", "v100", "a100"])
def test_an_image_as_the_checkout_would_build_it_passes(tmp_path: Path, name: str) -> None:
    image = Image.open(sif(tmp_path, resolved(name)))
    contents = contents_of(files(name, python="3.11" if name == "cpu" else "3.12"))
    checks = verify(image, contents, ROOT)
    assert failed(checks) == {}
    assert len({check.name for check in checks}) == len(checks) == 14
    assert all(check.said for check in checks)


@pytest.mark.parametrize(
    ("label", "value", "fails"),
    [
        ("python", "3.12", {"labels", "Python"}),
        ("torch", "2.13.0", {"labels", "torch"}),
        ("cuda", "12.8.1", {"labels", "CUDA"}),
        ("cudnn", "9.10.2.21", {"labels", "cuDNN"}),
        ("lock_sha256", "0" * 64, {"labels", "Python lock"}),
        ("debs_sha256", "0" * 64, {"labels", "Debian lock"}),
        ("profile", "v100", {"labels", "definition"}),
        ("profile", "../cpu", {"labels", "definition"}),
        ("commit", "d" * 40, {"labels", "commit"}),
        ("commit", f"{COMMIT}+changes", {"labels", "commit"}),
        ("base_tag", "", {"labels"}),
        ("arch", "sm_70", {"labels"}),
    ],
)
def test_a_label_that_is_not_true_fails(tmp_path: Path, label: str, value: str, fails: set[str]) -> None:
    found = checked(tmp_path, **{label: value})
    assert found.keys() == fails
    assert label.replace("_", "-") in found["labels"]


def test_labels_that_are_not_there_fail(tmp_path: Path) -> None:
    text = re.sub(r"^    sweepmark\.(?:arch|base) .*\n", "", resolved(), flags=re.MULTILINE)
    found = failed(verify(Image.open(sif(tmp_path, text)), contents_of(files()), ROOT))
    assert found["labels"] == "base is missing; arch is missing"
    assert "embedded definition" in found


def test_cuda_agrees_up_to_its_patch_and_cudnn_exactly(tmp_path: Path) -> None:
    contents = contents_of(files("v100", python="3.12"))

    def with_package(name: str, version: str) -> Contents:
        return replace(contents, python=contents.python | {name: replace(contents.python[name], version=version)})

    image = Image.open(sif(tmp_path, resolved("v100")))
    assert "CUDA" not in failed(verify(image, with_package("nvidia-cuda-runtime-cu12", "12.8.57"), ROOT))
    assert "CUDA" in failed(verify(image, with_package("nvidia-cuda-runtime-cu12", "12.9.57"), ROOT))
    assert "cuDNN" in failed(verify(image, with_package("nvidia-cudnn-cu12", "9.10.2.22"), ROOT))


def test_packages_of_python(tmp_path: Path) -> None:
    more = files() | {f"{SITE}/extra-1.dist-info/METADATA": metadata("extra", "1")}
    said = checked(tmp_path, more)["Python packages"]
    assert said == "lock: extra 1 instead of nothing; pip-freeze.txt: extra 1 instead of nothing"
    less = {name: content for name, content in files().items() if "/numpy-" not in name}
    assert "lock: numpy is missing instead of 2.4.6" in checked(tmp_path, less)["Python packages"]
    less = {name: content for name, content in files().items() if "/sweepmark-" not in name}
    assert "sweepmark itself is not installed" in checked(tmp_path, less)["Python packages"]
    other = files() | {f"{SITE}/numpy-2.4.6.dist-info/METADATA": metadata("numpy", "2.4.5")}
    assert checked(tmp_path, other).keys() == {"Python packages"}
    frozen = files()
    frozen["opt/sweepmark/pip-freeze.txt"] += b"other==1\n"
    assert "other is missing instead of 1" in checked(tmp_path, frozen)["Python packages"]


def test_packages_of_the_distribution(tmp_path: Path) -> None:
    held = files()
    held["var/lib/dpkg/status"] = held["var/lib/dpkg/status"].replace(b"Package: g++\n", b"Package: gpp\n")
    found = checked(tmp_path, held)
    assert found.keys() == {"Debian packages"}
    assert "dpkg-list.txt: g++ is missing instead of" in found["Debian packages"]
    assert "lock: g++ is missing instead of" in found["Debian packages"]
    held = files()
    status, listed = "var/lib/dpkg/status", "opt/sweepmark/dpkg-list.txt"
    version = re.search(rb"^g\+\+\t(\S+)", held[listed], re.MULTILINE)
    assert version is not None
    head = b"Package: g++\nStatus: install ok installed\nVersion: "
    held[status] = held[status].replace(head, head + b"9")
    held[listed] = held[listed].replace(b"g++\t" + version[1], b"g++\t9" + version[1])
    assert checked(tmp_path, held) == {}, "another epoch, which file names leave out"
    held[listed] = held[listed].replace(b"base-files\t12.4\tamd64", b"base-files\t12.4\tarm64")
    assert "base-files 12.4 amd64 instead of 12.4 arm64" in checked(tmp_path, held)["Debian packages"]


@pytest.mark.parametrize(
    ("file", "fails"),
    [
        ("python.lock", {"Python lock"}),
        ("debian.lock", {"Debian lock"}),
        ("selftest.py", {"self-test"}),
        ("definition", {"definition", "embedded definition", "inputs", "Python lock", "Debian lock"}),
        ("definition.sha256", {"definition"}),
    ],
)
def test_a_kept_file_that_is_another_fails(tmp_path: Path, file: str, fails: set[str]) -> None:
    held = files()
    held[f"opt/sweepmark/{file}"] += b"# more\n"
    assert checked(tmp_path, held).keys() == fails


@pytest.mark.parametrize(
    ("file", "fails"),
    [
        ("cpu.lock", {"Python lock"}),
        ("cpu.debs", {"Debian lock"}),
        ("cpu.def", {"definition"}),
        ("selftest.py", {"self-test"}),
        ("gpu.lock", set()),
        ("v100.def", set()),
    ],
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_checkout_that_is_another_fails(tmp_path: Path, file: str, fails: set[str], gone: bool) -> None:
    ignored = shutil.ignore_patterns("images", "wheelhouse", "testing")
    shutil.copytree(ROOT / "containers", tmp_path / "containers", ignore=ignored)
    path = tmp_path / "containers" / file
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"# more\n")
    image = Image.open(sif(tmp_path))
    assert failed(verify(image, contents_of(files()), tmp_path)).keys() == fails


def test_the_embedded_definition_must_be_the_one_in_the_image(tmp_path: Path) -> None:
    text = resolved().replace("exec sweepmark", "exec other")
    found = failed(verify(Image.open(sif(tmp_path, text)), contents_of(files()), ROOT))
    assert {"embedded definition", "inputs"} <= found.keys()
    found = failed(verify(Image.open(sif(tmp_path, "")), contents_of(files()), ROOT))
    assert {"labels", "embedded definition", "inputs"} <= found.keys()


@pytest.mark.parametrize(
    ("values", "fails"),
    [
        ({"commit": COMMIT, "source_date_epoch": "1", "wheelhouse": "/tmp/elsewhere"}, set()),
        ({"base": "my.registry:5000/debian@sha256:88"}, {"inputs"}),
        ({"base": "debian@sha256:" + "e" * 64}, {"inputs"}),
        ({"torch": "2.12.0"}, {"inputs", "torch"}),
        ({"lock": "containers/gpu.lock"}, {"inputs", "Python lock"}),
        ({"lock": "/etc/../passwd"}, {"inputs", "Python lock"}),
        ({"commit": "unknown"}, {"commit"}),
    ],
)
def test_other_inputs_than_the_definitions(tmp_path: Path, values: dict[str, str], fails: set[str]) -> None:
    image = Image.open(sif(tmp_path, resolved(**values)))
    found = failed(verify(image, contents_of(files()), ROOT))
    assert found.keys() == fails
    if "inputs" in fails:
        ((name, value),) = values.items()
        assert f"{name} is {value}, not " in found["inputs"]


def test_the_same_base_may_come_from_another_registry(tmp_path: Path) -> None:
    own = re.search(r"^    base=.*(@sha256:\w+)$", (ROOT / "containers/cpu.def").read_text(), re.MULTILINE)
    assert own is not None
    image = Image.open(sif(tmp_path, resolved(base=f"my.registry:5000/debian{own[1]}")))
    assert failed(verify(image, contents_of(files()), ROOT)) == {}


def test_without_git_the_commit_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "git_state", lambda folder: None)
    assert checked(tmp_path)["commit"] == f"the image is of {COMMIT}; this checkout's commit is unknown"


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    image = Image.open(sif(tmp_path))
    with pytest.raises(UserError, match="verified in a checkout"):
        verify(image, contents_of(files()), tmp_path)


def test_what_an_image_says_is_shown_in_one_short_line(tmp_path: Path) -> None:
    held = files()
    held["opt/sweepmark/pip-freeze.txt"] = b"\x1b]0;title\x07" * 50_000 + b"==\x1b[2J\n" + bytes(range(256))
    held["opt/sweepmark/dpkg-list.txt"] = b"\n\t\n\x1b[2J\t1\n"
    held["opt/sweepmark/python.lock"] = b"\xff==1 \\" * 9000
    held["opt/sweepmark/debian.lock"] = b"__\n_\n/" * 9000
    held["opt/sweepmark/definition"] = b"{{ a }}{{ b }} %labels\n" * 9000
    checks = verify(Image.open(sif(tmp_path, commit="\x1b[2J" * 999, profile="\0")), contents_of(held), ROOT)
    assert len(failed(checks)) > 6
    for check in checks:
        assert check.said.isprintable()
        assert len(check.said) < 1000
