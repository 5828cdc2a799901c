"""Filling the hub's cache, on a node with internet, with exactly what a workload loads: every file by its checksum.

Loads torch nowhere, and `datasets` only where a data set is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.hf.fetched import (
    CHUNK,
    CachedFile,
    Manifest,
    Place,
    Repository,
    fault,
    folder,
    home,
    load,
    repositories,
    save,
    sha256,
)
from bench.progress import OnDone
from bench.workload import Workload

if TYPE_CHECKING:
    from datasets import DatasetBuilder

MODEL = re.compile(
    r"config\.json|generation_config\.json|tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)"
    r"|merges\.txt|chat_template\.(jinja|json)|model\.safetensors|model\.safetensors\.index\.json"
    r"|model-\d+-of-\d+\.safetensors"
)
"""Names at the top of a model's repository that `from_pretrained` may read. No pickles: none is loaded."""

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DATA_CARD = "README.md"
TIMEOUT_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """As the hub lists it. `sha256`: of a large file (LFS); `blob`: git's checksum of others."""

    path: str
    size: int
    blob: str
    sha256: str | None


def fetch(workload: Workload, say: Say, on_done: OnDone | None = None) -> Manifest:
    """Download what is missing, download once more what does not match its checksum, and write down what is there.
    `say` is told each step, `on_done` how many MiB are verified. Raises UserError where the hub cannot be reached,
    lacks a file, or gives a wrong one again."""
    needed = repositories(workload)
    before = load(workload)
    files: list[CachedFile] = []
    with _hub_trouble():
        for repository in needed:
            listed = _listed(repository)
            builder = _builder(repository) if repository.kind == "dataset" else None
            files += _repository(repository, listed, builder, say, on_done)
            if builder is not None:
                files += _tables(builder, before, say)
    manifest = Manifest(workload=workload.name, repositories=needed, files=tuple(files))
    save(workload, manifest)
    return manifest


def _repository(
    repository: Repository, listed: list[HubFile], builder: DatasetBuilder | None, say: Say, on_done: OnDone | None
) -> Iterator[CachedFile]:
    from huggingface_hub import hf_hub_download, snapshot_download

    wanted = _of_model(listed, repository) if builder is None else _of_data(listed, builder, repository)
    place = _place(repository)
    total = sum(file.size for file in wanted)
    say(f"{repository}: {len(wanted)} files, {total / 2**20:,.1f} MiB")
    names = [file.path for file in wanted]
    snapshot = Path(snapshot_download(**place, allow_patterns=[_literal(name) for name in names], max_workers=4))
    done = 0
    for file in wanted:
        path = snapshot / file.path
        if not path.is_file() or not matches(path, file):
            say(f"{file.path} does not match its checksum: fetching it again")
            # The cache keeps a file under its checksum, and would otherwise take it for the right one.
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            hf_hub_download(**place, filename=file.path, force_download=True)
            if not matches(path, file):
                path.resolve().unlink()
                raise UserError(f"The hub gave a damaged {file.path} of {repository}, again: try later.")
        done += file.size
        if on_done is not None:
            on_done(done >> 20, total >> 20)
        yield _cached(path, "hub")


def _listed(repository: Repository) -> list[HubFile]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    place = _place(repository)
    api.repo_info(**place, timeout=TIMEOUT_S)  # where the hub cannot be reached, the next call tries for long
    entries = api.list_repo_tree(**place, recursive=True)
    return [
        HubFile(path=e.path, size=e.size, blob=e.blob_id, sha256=e.lfs.sha256 if e.lfs is not None else None)
        for e in entries
        if isinstance(e, RepoFile)
    ]


def _place(repository: Repository) -> dict[str, Any]:
    """As the hub's functions name it."""
    return {"repo_id": repository.name, "repo_type": repository.kind, "revision": repository.revision}


def _of_model(listed: list[HubFile], repository: Repository) -> list[HubFile]:
    wanted = {file.path: file for file in listed if MODEL.fullmatch(file.path)}
    if WHOLE in wanted:
        wanted = {name: file for name, file in wanted.items() if name == WHOLE or ".safetensors" not in name}
    if "config.json" not in wanted or not {WHOLE, INDEX} & wanted.keys():
        raise UserError(
            f"{repository} has no config.json with weights in safetensors: name a model that has, by its revision."
        )
    return list(wanted.values())


def _of_data(listed: list[HubFile], builder: DatasetBuilder, repository: Repository) -> list[HubFile]:
    """The files that the data set's own description names."""
    start = f"hf://datasets/{repository.name}@{repository.revision}/"
    urls = [str(url) for split in (builder.config.data_files or {}).values() for url in split]
    if not urls or not all(url.startswith(start) for url in urls):
        raise UserError(f"{repository} names no files of its own: give a file in SQuAD's JSON with --dataset FILE.")
    names = {DATA_CARD, *(url.removeprefix(start) for url in urls)}
    return [file for file in listed if file.path in names]


def _builder(repository: Repository) -> DatasetBuilder:
    from datasets import disable_progress_bars, load_dataset_builder

    disable_progress_bars()
    return load_dataset_builder(repository.name, revision=repository.revision)


def _tables(builder: DatasetBuilder, before: Manifest | None, say: Say) -> Iterator[CachedFile]:
    """The data set as tables, which is what an offline node loads: made again unless they are what was made before."""
    from datasets import DownloadMode

    made = Path(builder.cache_dir)
    known = {folder(file.place) / file.path: file for file in before.files} if before is not None else {}
    present = sorted(path for path in made.glob("*") if path.is_file())
    kept = [known[path] for path in present if path in known]
    if len(kept) != len(present) or not present or any(map(fault, kept)):
        say(f"Making the tables of {builder.repo_id}")
        builder.download_and_prepare(download_mode=DownloadMode.REUSE_CACHE_IF_EXISTS)
    os.utime(made)  # offline, the copy that was made last is taken
    for path in sorted(made.glob("*")):
        if path.is_file():
            yield _cached(path, "datasets")


def matches(path: Path, file: HubFile) -> bool:
    """Whether the content is the listed one."""
    if path.stat().st_size != file.size:
        return False
    return sha256(path) == file.sha256 if file.sha256 is not None else git_blob(path) == file.blob


def git_blob(path: Path) -> str:
    """Git's checksum of a file."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _hub_trouble() -> Iterator[None]:
    """The hub's and the cache's errors as one sentence."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be fetched: unset it on a node with internet.")
    endpoint = constants.ENDPOINT
    try:
        yield
    except (UserError, MemoryError):
        raise
    except GatedRepoError as error:
        raise UserError(
            f"{endpoint} gives this only to who has agreed to its terms ({_first(error)}): log in."
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(
            f"{endpoint} has no such repository or revision ({_first(error)}): check the workload."
        ) from None
    except HfHubHTTPError as error:
        raise UserError(f"{endpoint} refuses ({_first(error)}): try again later.") from None
    except Exception as error:  # those of the network and of formats come in the types of several libraries
        said = f"{type(error).__name__}, {_first(error)}"
        if _of_network(error):
            raise UserError(
                f"Cannot reach {endpoint} ({said}): run this on a node with internet, or set HTTPS_PROXY or "
                "HF_ENDPOINT."
            ) from None
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"Cannot write in {home()} ({error.strerror}): set HF_HOME to another folder.") from None
        raise UserError(f"What {endpoint} gave cannot be used ({said}): check the workload's model and data.") from None


def _of_network(error: Exception) -> bool:
    """Or of the hub's client, which has found nothing in the cache either."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    libraries = ("httpx", "httpcore", "requests", "urllib3")
    kinds = (ConnectionError, TimeoutError, socket.gaierror, LocalEntryNotFoundError)
    return isinstance(error, kinds) or any(cls.__module__.startswith(libraries) for cls in type(error).__mro__)


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")[:200]


def _cached(path: Path, place: Place) -> CachedFile:
    return CachedFile(
        place=place, path=str(path.relative_to(folder(place))), size=path.stat().st_size, sha256=sha256(path)
    )


def _literal(name: str) -> str:
    """A pattern that the name alone matches."""
    return re.sub(r"([\[?*])", r"[\1]", name)
