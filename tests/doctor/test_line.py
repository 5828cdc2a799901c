"""A check that breaks is a failure with its reason, never silence."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from bench.doctor.line import Check, Line, failed, make, passed, warned
from bench.doctor.summary import last_line, table, to_dict, worst
from bench.errors import UserError


def raising(error: Exception) -> Check:
    def lines() -> list[Line]:
        raise error

    return Check(name="locks", lines=lines)


def test_a_crash_is_a_failure_of_that_check() -> None:
    (line,) = make(raising(ZeroDivisionError("division by zero")))
    assert (line.check, line.status, line.found) == ("locks", "fail", "ZeroDivisionError: division by zero")
    assert line.remedy


def test_a_users_mistake_keeps_its_remedy() -> None:
    (line,) = make(raising(UserError("There is no image x.sif: build it with make container.")))
    assert (line.status, line.found, line.remedy) == (
        "fail", "There is no image x.sif", "build it with make container",
    )  # fmt: skip


def test_a_check_that_says_nothing_is_a_failure() -> None:
    (line,) = make(Check(name="ports", lines=list))
    assert line.status == "fail"


def test_a_generator_that_breaks_midway_is_a_failure() -> None:
    def lines():  # type: ignore[no-untyped-def]
        yield passed("a", "fine")
        raise OSError(28, "No space left on device")

    assert [line.status for line in make(Check(name="a", lines=lines))] == ["pass", "fail"]


@pytest.mark.parametrize(("status", "remedy"), [("pass", "do something"), ("warn", ""), ("fail", "")])
def test_a_remedy_stands_where_it_is_needed_and_there_alone(status: str, remedy: str) -> None:
    with pytest.raises(ValueError, match="remedy"):
        Line(check="x", status=status, found="y", remedy=remedy)  # type: ignore[arg-type]


def test_the_summary_counts() -> None:
    lines = [passed("a", "1"), passed("b", "2"), warned("c", "3", "wait"), failed("d", "4", "ask")]
    assert last_line(lines) == "2 passed, 1 warning, 1 failed"
    assert worst(lines) == "fail"
    assert worst(lines[:3]) == "warn"
    assert worst(lines[:2]) == "pass"
    data = to_dict(lines)
    assert data["counts"] == {"pass": 2, "warn": 1, "fail": 1}
    assert json.loads(json.dumps(data))["lines"][3]["remedy"] == "ask"


def test_what_several_nodes_say_alike_shares_a_row_that_names_them() -> None:
    lines = [
        Line(check="job", status="fail", found="ended", remedy="see", node=node) for node in ("node1", "node2", "node3")
    ]
    other = Line(check="job", status="fail", found="ended otherwise", remedy="see", node="node4")
    rows = table([*lines, other, warned("hub", "bare", "fetch")], "Pre-flight").rows
    assert [row[0] for row in rows] == ["node1, node2, node3", "node4", "here"]
    assert last_line(lines) == "0 passed, 0 warnings, 3 failed"


def test_the_table_shows_every_line_with_its_remedy_and_no_control_characters() -> None:
    lines = [passed("a", "fine"), Line(check="d", status="fail", found="bad \x1b[31m", remedy="ask", node="node2")]
    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as capture:
        table(lines, "Pre-flight").to_terminal(console)
    shown = capture.get()
    assert "bad [31m → ask" in shown
    assert "node2" in shown
    assert "here" in shown
