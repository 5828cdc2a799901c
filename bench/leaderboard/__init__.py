"""The leaderboard: runs collected, those that compare put on one board, and each strategy ranked over its seeds."""

from bench.leaderboard.boards import Board, Row, boards, by_loss
from bench.leaderboard.collect import Found, collect

__all__ = ["Board", "Found", "Row", "boards", "by_loss", "collect"]
