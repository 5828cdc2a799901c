"""The leaderboard as files that can live in git: the same runs give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.files import write_together
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
    """Write these files into `folder`, all of them or none. Raises UserError where that cannot be done."""
    files = {folder / name: text.encode() for name, text in texts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write into {folder} ({error.strerror}): name another folder.") from None
    write_together(files, "name another folder")
    return list(files)
