"""The leaderboard as files that can live in git: the same runs give the same bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.leaderboard.board_table import leaderboard_csv, leaderboard_report
from bench.leaderboard.boards import Board

STEM = "leaderboard"


def leaderboard_texts(boards: Sequence[Board]) -> dict[str, str]:
    """File name to content: Markdown, CSV and JSON."""
    report = leaderboard_report(boards)
    return {
        f"{STEM}.md": report.to_markdown(),
        f"{STEM}.csv": leaderboard_csv(boards),
        f"{STEM}.json": report.to_json(),
    }


def leaderboard_pictures(boards: Sequence[Board]) -> dict[str, str]:
    """File name to content: what each board's rows cost and how good they got, as SVG."""
    from bench.pictures import board_rows, to_svg

    return {
        f"{board.key}-{name}.svg": to_svg(name, rows, title=board.title)
        for board in boards
        for name, rows in board_rows(board).items()
    }


def write_all(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write these files into `folder`, each whole or not at all. Raises UserError where that cannot be done."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
            written.append(path)
    except OSError as error:
        raise UserError(f"Cannot write into {folder} ({error.strerror}): name another folder.") from None
    return written
