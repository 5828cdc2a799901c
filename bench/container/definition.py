"""What the definition files in containers/ must keep to, and that every pin agrees with its lock."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.container.deffile import ARGUMENT, PLACE, Definition
from bench.container.lockfile import Requirement, pins, python_of, requirements
from bench.container.offline import fetches
from bench.errors import UserError
from bench.profile import Profile, load_profiles

SECTIONS = ("arguments", "environment", "files", "help", "labels", "post", "runscript", "startscript", "test")
"""Those that Apptainer 1.2 and SingularityCE 4 share, but for %pre and %setup, which run on the host."""

HEADER = ("Bootstrap: docker", "From: {{ base }}")
BASE = re.compile(r"([a-z0-9][a-z0-9._/:-]*)@sha256:[0-9a-f]{64}")
ARCH = re.compile(r"sm_(\d+)(\d)")
NONE = "none"

TORCH_BRINGS = re.compile(r"triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+")
"""Packages that come with a build of torch alone, and are no part of requirements.lock."""

DEB = re.compile(r"[0-9a-f]{64} [a-z-]+ pool/\S+/[^/_ ]+_[^/_ ]+_[a-z0-9]+\.deb")

Finding = tuple[Path, int, str]


def lint(folder: Path, lock: Path) -> list[str]:
    """A sentence for each defect of the definitions in `folder` (a checkout's containers/) and of the locks that they
    name; each begins with file and line. `lock`: the project's requirements.lock.

    Raises UserError where a file cannot be read.
    """
    folder = folder.absolute()
    definitions = [Definition.parse(_read(path), path) for path in sorted(folder.glob("*.def"))]
    if not definitions:
        raise UserError(f"There is no definition file in {folder}: name the folder containers of a checkout.")
    own = pins(_read(lock))
    found: list[Finding] = [*_missing(folder, definitions), *_differences(definitions)]
    for definition in definitions:
        for rule in RULES:
            found += [(definition.path, line, said) for line, said in rule(definition)]
        found += _offline(definition)
        found += _locks(definition, own)
    # A lock or script that several definitions share is looked at once for each.
    return [f"{os.path.relpath(path, folder.parent)}:{line}: {said}" for path, line, said in sorted(set(found))]


def _sections(definition: Definition) -> Iterator[tuple[int, str]]:
    names = ", ".join(SECTIONS)
    for line in definition.lines:
        if line.is_heading and line.section not in SECTIONS:
            yield line.number, f"%{line.section} is none of the sections that images here are made of: {names}"
    header = definition.section("")
    for line in header:
        if line.says not in HEADER:
            yield line.number, f"'{line.says}' in the header; there should be only '{HEADER[0]}' and '{HEADER[1]}'"
    for wanted in HEADER:
        if wanted not in (line.says for line in header):
            yield 1, f"the header lacks '{wanted}'"


def _arguments(definition: Definition) -> Iterator[tuple[int, str]]:
    declared = definition.arguments
    used: set[str] = set()
    for line in definition.lines:
        for name in PLACE.findall(line.text):
            if line.says:
                used.add(name)
            if name not in declared:
                yield line.number, f"argument '{name}' is not declared in %arguments"
    for name, (number, value) in declared.items():
        if name not in used:
            yield number, f"argument '{name}' is used nowhere"
        if not value or value != value.strip():
            yield number, f"argument '{name}' has no proper default"
    seen: set[str] = set()
    for line in definition.section("arguments"):
        parts = ARGUMENT.fullmatch(line.says)
        if parts is None:
            yield line.number, f"'{line.says}' is no argument; write name=value"
        elif parts[1] in seen:
            yield line.number, f"argument '{parts[1]}' is declared twice"
        else:
            seen.add(parts[1])


def _base(definition: Definition) -> Iterator[tuple[int, str]]:
    number, base = _argument(definition, "base")
    parts = BASE.fullmatch(base)
    if parts is None:
        yield number, f"base is '{base}'; write name@sha256: and 64 hex digits, since a tag may move"
    tag_number, tag = _argument(definition, "base_tag")
    name, colon, rest = tag.rpartition(":")
    if not colon or not rest or (parts is not None and name != parts[1]):
        yield tag_number, f"base_tag is '{tag}'; write the tag that base's digest was read from, as name:tag"
    _, cuda = _argument(definition, "cuda")
    if cuda != NONE and not rest.startswith(f"{cuda}-"):
        yield tag_number, f"base_tag is '{tag}', and cuda '{cuda}'; the base should have that CUDA"


def _identity(definition: Definition) -> Iterator[tuple[int, str]]:
    path = definition.path
    for name, wanted in (("profile", path.stem), ("definition", f"{path.parent.name}/{path.name}")):
        number, value = _argument(definition, name)
        if value != wanted:
            yield number, f"{name} is '{value}', in the file of {wanted}"


def _runscript(definition: Definition) -> Iterator[tuple[int, str]]:
    if [line.says for line in definition.section("runscript")] != ['exec sweepmark "$@"']:
        number = next((line.number for line in definition.lines if line.section == "runscript"), 1)
        yield number, "%runscript should be 'exec sweepmark \"$@\"' and nothing else"


def _arch(definition: Definition) -> Iterator[tuple[int, str]]:
    """Machine code runs on devices of its own major capability, from its own minor one on. Source: CUDA C++ Programming
    Guide, "Binary Compatibility"."""
    number, value = _argument(definition, "arch")
    promised = [(int(arch[1]), int(arch[2])) for arch in map(ARCH.fullmatch, value.split(",")) if arch is not None]
    if value != NONE and len(promised) != len(value.split(",")):
        yield number, f"arch is '{value}'; write sm_80, several with a comma between, or none"
    for profile in _profiles(definition.path.stem):
        if profile.gpu is None:
            if value != NONE:
                yield number, f"arch is '{value}', and profile {profile.name} has no GPU; write none"
            continue
        major, minor = profile.gpu.capability
        if not any(has == major and least <= minor for has, least in promised):
            yield number, f"arch is '{value}', which does not run on profile {profile.name}: add sm_{major}{minor}"


RULES: tuple[Callable[[Definition], Iterator[tuple[int, str]]], ...] = (
    _sections, _arguments, _base, _identity, _runscript, _arch,
)  # fmt: skip


def _missing(folder: Path, definitions: Sequence[Definition]) -> Iterator[Finding]:
    there = {definition.path.stem for definition in definitions}
    for profile in load_profiles():
        if profile.image not in there:
            yield folder / f"{profile.image}.def", 1, f"is missing; profile {profile.name} runs in it"


def _differences(definitions: Sequence[Definition]) -> Iterator[Finding]:
    """Outside of %arguments, each has the lines of the first."""

    def shared(definition: Definition) -> list[tuple[int, str]]:
        return [(line.number, line.text) for line in definition.lines if line.section != "arguments"]

    first, *others = definitions
    wanted = [text for _, text in shared(first)]
    for other in others:
        has = shared(other)
        at = next((i for i, (_, text) in enumerate(has) if i >= len(wanted) or text != wanted[i]), len(has))
        if at < max(len(has), len(wanted)):
            number = has[min(at, len(has) - 1)][0]
            yield other.path, number, f"differs from {first.path.name} outside of %arguments, from this line on"


def _offline(definition: Definition) -> Iterator[Finding]:
    """%post, and each script of the checkout that it runs."""
    post = definition.section("post")
    yield from ((definition.path, number, said) for number, said in fetches((line.number, line.says) for line in post))
    for line in definition.section("files"):
        source, _, target = line.says.partition(" ")
        path = definition.path.parents[1] / source
        if target.strip() and any(target.strip() in call.says for call in post) and path.is_file():
            script = enumerate(_read(path).splitlines(), start=1)
            yield from ((path, number, said) for number, said in fetches(script))


def _locks(definition: Definition, own: dict[str, str]) -> Iterator[Finding]:
    root = definition.path.parents[1]
    for name in ("lock", "debs"):
        number, value = _argument(definition, name)
        path = root / value
        if not path.is_file():
            yield definition.path, number, f"{name} is '{value}', which is not there"
            continue
        number, named = _argument(definition, f"{name}_sha256")
        if named != hashlib.sha256(path.read_bytes()).hexdigest():
            yield definition.path, number, f"{name}_sha256 is not that of {value}; run containers/pin.sh"
        if name == "debs":
            yield from _debs(path)
        else:
            yield from _lock(path, own, definition)
            yield from _agreement(definition, path)


def _debs(path: Path) -> Iterator[Finding]:
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.startswith("#") and not DEB.fullmatch(line):
            yield path, number, f"'{line}' is not sha256, archive and path of a package"


def _lock(path: Path, own: dict[str, str], definition: Definition) -> Iterator[Finding]:
    text = _read(path)
    _, python = _argument(definition, "python")
    said = python_of(text)
    if said != python:
        yield path, 1, f"is made for Python {said}, and {definition.path.name} has {python}"
    for requirement in requirements(text):
        yield from ((path, requirement.line, what) for what in _requirement(requirement, own, python))


def _requirement(found: Requirement, own: dict[str, str], python: str) -> Iterator[str]:
    if found.options:
        yield f"'{found.options[0]}' is no hash; a lock names packages alone"
    if found.version is None:
        yield f"'{found.text}' is not an exact pin"
        return
    if not found.hashes:
        yield f"{found.name} has no hash"
    if found.marker and not _holds(found.marker, python):
        yield f"{found.name} is not for Python {python} on Linux: '{found.marker}'"
    if found.name == "torch":
        return
    if found.name not in own:
        if not TORCH_BRINGS.fullmatch(found.name):
            yield f"{found.name} is not in requirements.lock, and torch does not bring it"
    elif found.version != own[found.name]:
        yield f"{found.name} is {found.version}, and {own[found.name]} in requirements.lock"


def _holds(marker: str, python: str) -> bool:
    """Whether a requirement's condition is true inside an image; one that cannot be read is not."""
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    inside = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "extra": "",
    }
    try:
        return Marker(marker).evaluate(inside)
    except (InvalidMarker, UndefinedEnvironmentName):
        return False


def _agreement(definition: Definition, lock: Path) -> Iterator[Finding]:
    """torch, CUDA and cuDNN, in the arguments and in the lock."""
    locked = pins(_read(lock))
    runtime = next((v for name, v in locked.items() if name.startswith("nvidia-cuda-runtime")), NONE)
    cudnn = next((v for name, v in locked.items() if name.startswith("nvidia-cudnn")), NONE)
    number, torch = _argument(definition, "torch")
    if torch != locked.get("torch"):
        yield definition.path, number, f"torch is '{torch}', and {locked.get('torch')} in {lock.name}"
    number, cuda = _argument(definition, "cuda")
    if cuda.split(".")[:2] != runtime.split(".")[:2]:
        yield definition.path, number, f"cuda is '{cuda}', and CUDA's runtime {runtime} in {lock.name}"
    number, named = _argument(definition, "cudnn")
    if named != cudnn:
        yield definition.path, number, f"cudnn is '{named}', and {cudnn} in {lock.name}"


def _argument(definition: Definition, name: str) -> tuple[int, str]:
    """Line and default; one that is missing has the definition's first line, and is empty."""
    return definition.arguments.get(name, (1, ""))


def _profiles(image: str) -> list[Profile]:
    return [profile for profile in load_profiles() if profile.image == image]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): check the path.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: take it from the checkout again.") from None
