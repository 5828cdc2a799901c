"""Schedules of device slots over time: folded from events, printed, or written as SVG."""

from bench.gantt.schedule import Bar, Kind, Schedule, from_bars, schedule
from bench.gantt.svg import to_svg
from bench.gantt.terminal import print_schedule

__all__ = ["Bar", "Kind", "Schedule", "from_bars", "print_schedule", "schedule", "to_svg"]
