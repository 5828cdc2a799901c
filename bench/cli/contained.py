"""`sweepmark run --container`: the same command in an image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from bench.container.binding import bound
from bench.container.driver import check_driver
from bench.container.launch import command, find_runtime, image_of, run_inside
from bench.container.sif import Image
from bench.probe import chosen_profile, probe_machine


def run_contained(words: Sequence[str], named: str | None, profile_name: str | None, results: Path) -> int:
    """The exit status of `sweepmark run WORDS` in the image `named`, or in the profile's own. Raises UserError before
    anything starts where there is no runtime or image, or the driver is too old for it."""
    runtime = find_runtime()
    probe = probe_machine()
    path = Path(named) if named is not None else image_of(chosen_profile(profile_name, probe))
    image = Image.open(path)
    check_driver(image, probe)
    inner, binds = bound(words, results, named=named, huggingface=_huggingface())
    commit = image.labels.get("sweepmark.commit", "unknown")
    click.echo(f"Running in {path}: Sweepmark of commit {commit[:12]}, not this checkout's files.", err=True)
    with tempfile.TemporaryDirectory(prefix="sweepmark-") as scratch:
        gpus = image.labels.get("sweepmark.cuda", "none") != "none"
        return run_inside(command(runtime, path, ["run", *inner], binds=binds, scratch=Path(scratch), gpus=gpus))


def _huggingface() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
