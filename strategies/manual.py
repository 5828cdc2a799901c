"""The workshop's manual grid: every combination, one after the other, each to the last epoch."""

from bench.strategy import GridPlan, Request, Strategy


def build(request: Request) -> GridPlan:
    return GridPlan(tuple(request.space.grid()))


STRATEGY = Strategy(
    name="manual",
    summary="the workshop's grid, serial, one process a trial: the baseline",
    build=build,
    serial=True,
    several=True,
)
