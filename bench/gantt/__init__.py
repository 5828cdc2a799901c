"""Schedules of device slots over time: folded from events, and printed. `bench.pictures` draws them."""

from bench.gantt.schedule import Bar, Kind, Schedule, from_bars, schedule
from bench.gantt.terminal import print_schedule

__all__ = ["Bar", "Kind", "Schedule", "from_bars", "print_schedule", "schedule"]
