"""A given leaderboard against the one that the runs of the submission give."""

from __future__ import annotations

import json
from pathlib import Path

from bench.errors import UserError
from bench.submission.files import LEADERBOARD_NAME
from bench.submission.findings import Findings
from bench.submission.records import first_difference
from bench.submission.strict_json import strict_json


def check_leaderboard(given: bytes, folders: list[Path], findings: Findings) -> None:
    """Findings where `leaderboard.json` is not what these runs' folders give. Only for runs without errors."""
    from bench.leaderboard import boards, collect
    from bench.leaderboard.write import leaderboard_texts

    try:
        claimed = strict_json(given)
    except ValueError as error:
        findings.add("bad-json", LEADERBOARD_NAME, f"It is no strict JSON: {error}.")
        return
    try:
        made = json.loads(leaderboard_texts(boards(collect(folders)))[LEADERBOARD_NAME])
    except UserError as error:
        findings.add("leaderboard-unchecked", LEADERBOARD_NAME, f"It could not be made again: {error}")
        return
    difference = first_difference(claimed, made)
    if difference is not None:
        findings.add(
            "leaderboard-differs", LEADERBOARD_NAME, f"{difference}: make it again by `sweepmark leaderboard --json`."
        )
