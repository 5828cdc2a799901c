"""The linter finds each defect that is planted into a copy of containers/, and none in containers/ itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.container.deffile import PLACE, Definition, filled_with
from bench.container.definition import lint
from bench.container.lockfile import pins, requirements
from bench.container.offline import fetches
from bench.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "containers"
    folder.mkdir()
    for path in (ROOT / "containers").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def spoil(path: Path, pattern: str, by: str) -> None:
    """In all definitions at once where `path` is `*.def`, since these must not differ."""
    for file in sorted(path.parent.glob(path.name)):
        text = file.read_text(encoding="utf-8")
        spoilt = re.sub(pattern, by, text, count=1, flags=re.MULTILINE)
        assert spoilt != text, f"{pattern} is not in {file.name}"
        file.write_text(spoilt, encoding="utf-8")


def spoil_lock(folder: Path, name: str, pattern: str, by: str) -> None:
    """And the definitions name its new hash."""
    spoil(folder / name, pattern, by)
    subprocess.run(["sh", str(folder / "pin.sh")], check=True, timeout=60)


def planted(folder: Path) -> list[str]:
    """The findings of the copy that the original does not have."""
    return [finding for finding in lint(folder, LOCK) if finding not in shipped()]


@cache
def shipped() -> frozenset[str]:
    return frozenset(lint(ROOT / "containers", LOCK))


def test_the_shipped_definitions_and_locks_are_clean() -> None:
    assert lint(ROOT / "containers", LOCK) == []


def test_a_copy_is_like_the_original(copy: Path) -> None:
    assert planted(copy) == []


IN_DEFINITIONS = {
    "an unknown section": (r"^%post", "%appinstall\n    x\n\n%post", "%appinstall is none of the sections"),
    "a section on the host": (r"^%post", "%setup\n    touch /x\n\n%post", "%setup is none of the sections"),
    "another bootstrap": (r"^Bootstrap: docker", "Bootstrap: yum", "'Bootstrap: yum' in the header"),
    "a key of one program": (r"^(From: .*)", r"\1\nIncludeCmd: yes", "'IncludeCmd: yes' in the header"),
    "a fixed base": (r"^From: .*", "From: debian:bookworm", "the header lacks 'From: {{ base }}'"),
    "an undeclared argument": (r"^(%post\n)", r"\1    echo {{ nobody }}\n", "argument 'nobody' is not declared"),
    "an unused argument": (r"^(%arguments\n)", r"\1    idle=1\n", "argument 'idle' is used nowhere"),
    "an argument in a comment alone": (
        r"^(%arguments\n)((?:.*\n)*?)(%files\n)",
        r"\1    idle=1\n\2\3    # {{ idle }}\n",
        "argument 'idle' is used nowhere",
    ),
    "an empty argument": (r"^    commit=.*", "    commit=", "argument 'commit' has no proper default"),
    "an argument twice": (r"^(    profile=.*)", r"\1\n\1", "argument 'profile' is declared twice"),
    "no argument": (r"^(    profile=.*)", r"\1\n    just words", "'just words' is no argument"),
    "a base by tag": (r"^    base=.*", "    base=debian:bookworm-slim", "base is 'debian:bookworm-slim'"),
    "a short digest": (r"^(    base=.*).$", r"\1", "and 64 hex digits"),
    "a tag of another base": (r"^    base_tag=.*", "    base_tag=alpine:3", "base_tag is 'alpine:3'"),
    "a base without its tag": (r"^(    base_tag=)([^:]*):.*", r"\1\2", "as name:tag"),
    "no such lock": (r"^    lock=.*", "    lock=containers/tpu.lock", "lock is 'containers/tpu.lock', which is not"),
    "a lock's hash": (r"^    lock_sha256=.", "    lock_sha256=z", "lock_sha256 is not that of containers/"),
    "a debs' hash": (r"^    debs_sha256=.", "    debs_sha256=z", "debs_sha256 is not that of containers/"),
    "another definition's name": (
        r"^    definition=.*",
        "    definition=containers/x.def",
        "definition is 'containers/x",
    ),
    "another profile": (r"^    profile=.*", "    profile=x", "profile is 'x'"),
    "another torch": (r"^    torch=.*", "    torch=2.9.0", "torch is '2.9.0', and 2."),
    "another Python": (r"^    python=.*", "    python=3.13", "is made for Python 3.1"),
    "another CUDA": (r"^    cuda=.*", "    cuda=13.0.1", "cuda is '13.0.1', and CUDA's runtime"),
    "another cuDNN": (r"^    cudnn=.*", "    cudnn=9.11.0.1", "cudnn is '9.11.0.1', and "),
    "no arch": (r"^    arch=.*", "    arch=volta", "arch is 'volta'; write sm_80"),
    "another program": (r"^    exec sweepmark.*", "    exec bash", "%runscript should be 'exec sweepmark"),
    "words dropped": (r'exec sweepmark "\$@"', "exec sweepmark", "%runscript should be 'exec sweepmark"),
    "a network call": (r"^(%post\n)", r"\1    curl -O example.org/x\n", "'curl' in %post"),
}


@pytest.mark.parametrize("defect", IN_DEFINITIONS)
def test_a_defect_in_all_definitions_is_found_in_each(copy: Path, defect: str) -> None:
    pattern, by, said = IN_DEFINITIONS[defect]
    spoil(copy / "*.def", pattern, by)
    found = planted(copy)
    for name in ("a100", "cpu", "v100"):
        at = [f for f in found if re.match(rf"containers/({name}\.def|[cg]pu\.lock):[1-9]\d*: ", f) and said in f]
        assert at, found


def test_the_line_is_that_of_the_defect(copy: Path) -> None:
    spoil(copy / "cpu.def", r"^    torch=.*", "    torch=2.9.0")
    lines = (copy / "cpu.def").read_text(encoding="utf-8").splitlines()
    assert planted(copy) == [
        f"containers/cpu.def:{lines.index('    torch=2.9.0') + 1}: torch is '2.9.0', and 2.13.0+cpu in cpu.lock"
    ]


def test_definitions_differ_in_their_arguments_alone(copy: Path) -> None:
    spoil(copy / "v100.def", r"^(%post\n)", r"\1    echo V100\n")
    (found,) = planted(copy)
    assert re.fullmatch(r"containers/v100\.def:\d+: differs from a100\.def outside of %arguments.*", found)
    (copy / "v100.def").write_text(
        (copy / "a100.def").read_text(encoding="utf-8").rpartition("\n    sweepmark.arch")[0]
    )
    assert any("v100.def" in f and "differs from a100.def" in f for f in planted(copy))


@pytest.mark.parametrize(
    ("image", "promised", "profile"),
    [("v100", "sm_80", "v100"), ("a100", "sm_90", "a100"), ("a100", "sm_80,sm_89", "h200"), ("a100", "none", "h100")],
)
def test_an_image_promises_kernels_that_run_on_its_profiles(
    copy: Path, image: str, promised: str, profile: str
) -> None:
    spoil(copy / f"{image}.def", r"^    arch=.*", f"    arch={promised}")
    assert any(f"does not run on profile {profile}: add sm_" in finding for finding in lint(copy, LOCK))


@pytest.mark.parametrize("promised", ["sm_80,sm_86,sm_90", "sm_90,sm_80,sm_75"])
def test_kernels_for_several_gpus_may_be_promised(copy: Path, promised: str) -> None:
    spoil(copy / "a100.def", r"^    arch=.*", f"    arch={promised}")
    assert lint(copy, LOCK) == []


def test_the_cpu_image_promises_no_kernels(copy: Path) -> None:
    spoil(copy / "cpu.def", r"^    arch=.*", "    arch=sm_80")
    (found,) = planted(copy)
    assert found.endswith("arch is 'sm_80', and profile cpu has no GPU; write none")


def test_each_image_that_a_profile_names_has_a_definition(copy: Path) -> None:
    (copy / "v100.def").unlink()
    assert planted(copy) == ["containers/v100.def:1: is missing; profile v100 runs in it"]


IN_LOCKS = {
    "no hash": (r"^numpy==(\S+) \\\n(?: .*\n)+", r"numpy==\1\n", "numpy has no hash"),
    "a weak hash": (r"^(wheel==\S+ \\\n)(?: .*\n)+", r"\1    --hash=md5:0\n", "'--hash=md5:0' is no hash"),
    "a range": (r"^numpy==", "numpy>=", "'numpy>=2.4.6' is not an exact pin"),
    "a wildcard": (r"^numpy==\S+", "numpy==2.*", "'numpy==2.*' is not an exact pin"),
    "a URL": (r"^numpy==\S+", "numpy @ https://example.org/numpy.whl", "is not an exact pin"),
    "an index": (r"^accelerate==", "--extra-index-url https://example.org\naccelerate==", "'--extra-index-url' is no"),
    "another version": (r"^numpy==\S+", "numpy==2.4.5", "numpy is 2.4.5, and 2.4.6 in requirements.lock"),
    "another package": (r"^numpy==", "numpi==", "numpi is not in requirements.lock, and torch does not bring it"),
    "a marker for another Python": (
        r"^(numpy==\S+)",
        r"\1 ; python_version < '3.11'",
        "numpy is not for Python 3.1",
    ),
    "a marker for another system": (r"^(numpy==\S+)", r"\1 ; sys_platform == 'win32'", "numpy is not for Python 3.1"),
    "a marker that is none": (r"^(numpy==\S+)", r"\1 ; moon == 'full'", "numpy is not for Python 3.1"),
    "made for another Python": (r" for Python 3\.1\d", " for Python 3.9", "is made for Python 3.9, and"),
}


@pytest.mark.parametrize("lock", ["cpu.lock", "gpu.lock"])
@pytest.mark.parametrize("defect", IN_LOCKS)
def test_a_defect_in_a_lock_is_found(copy: Path, lock: str, defect: str) -> None:
    pattern, by, said = IN_LOCKS[defect]
    spoil_lock(copy, lock, pattern, by)
    found = planted(copy)
    assert any(re.match(rf"containers/{lock}:[1-9]\d*: ", f) and said in f for f in found), found
    assert all(f.startswith(f"containers/{lock}:") for f in found)


def test_a_marker_that_holds_is_no_defect(copy: Path) -> None:
    spoil_lock(copy, "cpu.lock", r"^(numpy==\S+)", r"\1 ; python_version >= '3.11' and sys_platform == 'linux'")
    assert planted(copy) == []


def test_torch_may_have_another_version_on_gpus_where_the_argument_says_so(copy: Path) -> None:
    spoil_lock(copy, "gpu.lock", r"^torch==\S+", "torch==2.9.1")
    for name in ("a100", "v100"):
        spoil(copy / f"{name}.def", r"^    torch=.*", "    torch=2.9.1")
    assert planted(copy) == []


def test_a_cuda_of_another_patch_is_the_same_but_cudnn_must_be_equal(copy: Path) -> None:
    spoil_lock(copy, "gpu.lock", r"^(nvidia-cuda-runtime-cu12==12\.8)\.\d+", r"\1.99")
    assert planted(copy) == []
    spoil_lock(copy, "gpu.lock", r"^(nvidia-cudnn-cu12==9\.10\.2)\.\d+", r"\1.99")
    assert len(planted(copy)) == 2, "in a100.def and v100.def"


def test_every_package_of_the_distribution_has_a_hash(copy: Path) -> None:
    spoil_lock(copy, "cpu.debs", r"^[0-9a-f]{64} (debian pool/main/a/.*)", r"\1")
    (found,) = planted(copy)
    assert re.fullmatch(r"containers/cpu\.debs:3: 'debian pool/main/a/.*' is not sha256, archive and path.*", found)


def test_what_post_runs_is_looked_into(copy: Path) -> None:
    spoil(copy / "body.sh", r"^set -eu$", "set -eu\napt-get update")
    (found,) = planted(copy)
    assert re.fullmatch(r"containers/body\.sh:\d+: apt asks its mirrors in %post; .*", found)


@pytest.mark.parametrize(
    "call",
    [
        "curl -O x",
        "x=$(wget -qO- x)",
        "/usr/bin/curl x",
        "git clone x",
        "echo https://example.org",
        "pip install numpy",
        "python3 -m pip install --upgrade \\\n    numpy",
        "pip download numpy",
        "apt-get update",
        "apt-get -y install g++",
        "DEBIAN_FRONTEND=noninteractive apt install --yes ./a.deb g++",
        "python3 -c 'import urllib.request'",
        "exec 3<>/dev/tcp/example.org/80",
        "conda install numpy",
    ],
)
def test_calls_that_fetch(call: str) -> None:
    found = list(fetches(enumerate(f"set -eu\n{call}\ntrue".splitlines(), start=1)))
    assert found
    assert found[0][0] == 2


@pytest.mark.parametrize(
    "call",
    [
        "# curl -O x",
        "pip install --no-index --find-links wheels numpy",
        "python3 -m pip install --quiet \\\n    --no-index numpy",
        "pip check",
        "only pip setuptools wheel packaging",
        "ls /debs | xargs apt-get install --yes >apt.log 2>&1 || { cat apt.log; exit 1; }",
        "apt-get install --yes ./debs/a.deb /x/b.deb",
        "rm -rf /var/cache/apt/*",
        "echo digits legit",
    ],
)
def test_calls_that_do_not_fetch(call: str) -> None:
    assert list(fetches(enumerate(call.splitlines(), start=1))) == []


def test_a_folder_without_definitions_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(UserError, match="no definition file"):
        lint(tmp_path, LOCK)
    with pytest.raises(UserError, match=r"Cannot read .*none\.lock"):
        lint(copy, tmp_path / "none.lock")
    (copy / "cpu.def").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not text in UTF-8"):
        lint(copy, LOCK)


def test_requirements_are_read_line_by_line() -> None:
    begun = "# made\nA.b_c[x,y]==1.0 ; python_version > '3' \\\n"
    lock = f"{begun}    --hash=sha256:{'0' * 64} \\\n  # said\nnext==2 # via a\n"
    first, second = requirements(lock)
    assert (first.line, first.name, first.version, first.marker) == (2, "a-b-c", "1.0", "python_version > '3'")
    assert (first.hashes, first.options, second.line, second.hashes) == (1, (), 5, 0)
    assert pins(lock) == {"a-b-c": "1.0", "next": "2"}


@given(st.text())
def test_any_text_is_a_lock_and_a_definition_of_some_kind(text: str) -> None:
    list(requirements(text))
    list(fetches(enumerate(text.splitlines(), start=1)))
    definition = Definition.parse(text, Path("x.def"))
    assert definition.arguments.keys() == definition.defaults.keys()
    assert [line.text for line in definition.lines] == [line.rstrip() for line in text.splitlines()]


@given(
    st.dictionaries(
        st.sampled_from(["base", "commit", "python", "wheelhouse"]),
        st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1).filter(lambda v: "{" not in v),
    )
)
def test_the_arguments_of_a_resolved_definition_are_found_again(values: dict[str, str]) -> None:
    template = (ROOT / "containers/cpu.def").read_text(encoding="utf-8")
    wanted = Definition.parse(template, Path("cpu.def")).defaults | values
    resolved = PLACE.sub(lambda place: wanted[place[1]], template)
    assert filled_with(template, resolved) == wanted
    assert filled_with(template, resolved.replace("LANG=", "LUNG=")) is None
    assert filled_with(template, resolved + "\n%help\n    x\n") is None
    assert filled_with(template, resolved.replace("\n%runscript", "\n# {{ commit }}\n%runscript")) is None


def test_an_argument_with_two_values_is_none() -> None:
    assert filled_with("a {{ x }}\nb {{x}}-", "a 1\nb 1-") == {"x": "1"}
    assert filled_with("a {{ x }}\nb {{x}}-", "a 1\nb 2-") is None
    assert filled_with("{{ x }}{{ y }}", "12") is None
