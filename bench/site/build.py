"""A whole site from runs: pages, their data, the files to download, and the scripts that draw."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.journal import JOURNAL_NAME
from bench.leaderboard import Board, Found, boards
from bench.leaderboard.write import leaderboard_texts
from bench.progress import OnDone
from bench.record import RECORD_NAME, encode_record
from bench.site.folder import replacing
from bench.site.index_page import index_page
from bench.site.pages import HERE, comparing_pictures, render
from bench.site.run_data import run_data, run_index, run_key
from bench.site.run_page import Download, run_page
from bench.site.script import register
from bench.site.terms import CHAPTERS

DATA_NAME = "data.js"
PAGES = 3
"""Beside those of runs: leaderboard, comparison, terms."""


def build_site(found: Sequence[Found], target: Path, on_done: OnDone | None = None) -> int:
    """Build the site of these runs in `target`, in place of the one that is there; returns how many pages it has.

    It opens from a file and asks for nothing outside its folder; the same runs give the same bytes. Raises UserError
    where a run cannot be read, or `target` holds something else or cannot be written.
    """
    ordered = sorted(found, key=lambda one: one.name)
    from bench.pictures.palette import SERIES

    ranked = boards(ordered)
    with replacing(target) as root:
        for folder in ("runs", "data", "static"):
            (root / folder).mkdir()
        _write_static(root / "static")
        _write(root / "static" / "boards.js", register("boards", _board_data(ranked)))
        _write(root / "static" / "runs.js", register("runs", run_index(ordered, ranked)))
        _write(root / "index.html", index_page(ranked, len(ordered)))
        _write(root / "compare.html", render(
            "compare.html", root="", here="compare", title="Compare runs",
            pictures=comparing_pictures(), most=len(SERIES),
        ))  # fmt: skip
        _write(root / "terms.html", render("terms.html", root="", here="terms", title="Terms", chapters=CHAPTERS))
        for name, text in leaderboard_texts(ranked).items():
            _write(root / name, text)
        for number, one in enumerate(ordered, 1):
            _write_run(one, root)
            if on_done is not None:
                on_done(number, len(ordered))
    return PAGES + len(ordered)


def _write_run(found: Found, root: Path) -> None:
    files = root / "data" / found.name
    files.mkdir()
    (files / RECORD_NAME).write_bytes(encode_record(found.record))
    if found.journal is not None:
        shutil.copyfile(found.journal, files / JOURNAL_NAME)
    downloads = [_download(path) for path in sorted(files.iterdir(), reverse=True)]
    _write(files / DATA_NAME, register(run_key(found.name), run_data(found)))
    _write(root / "runs" / f"{found.name}.html", run_page(found, downloads))


def _download(path: Path) -> Download:
    data = path.read_bytes()
    return Download(name=path.name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _board_data(ranked: Sequence[Board]) -> dict[str, Any]:
    from bench.pictures import board_rows

    return {board.key: board_rows(board) for board in ranked}


def _write_static(folder: Path) -> None:
    from vl_convert import javascript_bundle

    from bench.pictures import PICTURES, specification, theme

    for path in sorted((HERE / "static").iterdir()):
        _write(folder / path.name, path.read_text(encoding="utf-8"))
    _write(folder / "vega.js", javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    one = {name: specification(name) for name in PICTURES}
    several = {picture.name: specification(picture.name, several=True) for picture in comparing_pictures()}
    drawn = {"one": one, "several": several, "theme": theme()}
    _write(folder / "specifications.js", register("specifications", drawn))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
