"""Progress is a bar at a terminal, and lines of the log elsewhere."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from oneoff.core.run import Operator, Run
from oneoff.runtime.logs.loggers import Logs
from oneoff.runtime.progress import Progress
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor
from tests.support.screens import Screen, at_a_terminal


class Clock:
    """A clock whose time a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at 0 seconds."""
    return Clock()


@pytest.fixture
def screen() -> Screen:
    """Return the operator's screen."""
    return Screen()


def progress_on(terminal: Terminal, clock: Clock, level: str = "info") -> Progress:
    """Return the progress of some run."""
    run = Run(
        id="20260131T120000-0123456789",
        command="data export",
        dry_run=False,
        operator=Operator(name="ada", source="os-user"),
        environment="development",
        reason="",
        ticket="",
        started_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    return Progress(terminal, Logs(terminal, Redactor({}), level), run, clock)


def test_the_bar_shows_count_rate_and_remaining_time(screen: Screen, clock: Clock) -> None:
    """It is redrawn at most ten times per second."""
    progress = progress_on(at_a_terminal(screen), clock)
    progress.start(1_000_000)

    clock.now = 0.05
    progress.advance(1_000)
    assert "" == screen.line
    clock.now = 0.5
    progress.advance(199_000)
    assert (
        "[######........................]  200,000 of 1,000,000 rows  400,000/s  2 s left"
        == screen.line
    )
    clock.now = 200
    progress.advance(100_000)
    assert screen.line.endswith("300,000 of 1,000,000 rows  1,500/s  7 min 47 s left")
    clock.now = 20_000
    progress.advance(100_000)
    assert screen.line.endswith("400,000 of 1,000,000 rows  20/s  8 h 20 min left")


def test_without_a_total_only_the_count_and_the_rate_are_shown(
    screen: Screen, clock: Clock
) -> None:
    """The same holds once an estimated total is exceeded."""
    progress = progress_on(at_a_terminal(screen), clock)
    progress.start(0, unit="keys")

    clock.now = 2
    progress.advance(3_000)
    assert "3,000 keys  1,500/s" == screen.line

    progress.start(10)
    clock.now = 4
    progress.advance(11)
    assert "11 rows  6/s" == screen.line


def test_the_remaining_time_comes_from_bytes_and_the_rate_from_rows(
    screen: Screen, clock: Clock
) -> None:
    """The size of a file is known, the number of its rows is not."""
    progress = progress_on(at_a_terminal(screen), clock)
    progress.start(4_000, unit="bytes")

    clock.now = 2
    progress.advance(1_000, rows=50)

    assert "[#######.......................]  50 rows  25/s  6 s left" == screen.line


def test_the_bar_is_erased_before_messages_and_the_result(screen: Screen, clock: Clock) -> None:
    """No remains of the bar are next to a warning or the result."""
    terminal = at_a_terminal(screen)
    progress = progress_on(terminal, clock)
    clock.now = 1
    progress.advance(1)

    terminal.err("something happened\n")
    clock.now = 2
    progress.advance(1)
    progress.close()
    terminal.err("done\n")

    erased = "\r\x1b[K"
    assert f"1 rows  1/s{erased}something happened\n2 rows  1/s{erased}done\n" == screen.getvalue()


def test_the_bar_is_cut_to_the_width_of_the_terminal(screen: Screen, clock: Clock) -> None:
    """A wrapped line could not be erased."""
    progress = progress_on(at_a_terminal(screen, width=40), clock)
    progress.start(100)

    clock.now = 1
    progress.advance(50)

    assert "[###############...............]  50 of" == screen.line


def test_no_bar_is_shown_between_rows_of_data(
    screen: Screen, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data and bar would be on the same screen."""
    stdout = Screen()
    monkeypatch.setattr(stdout, "buffer", io.BytesIO(), raising=False)
    terminal = at_a_terminal(screen, stdout=stdout)
    progress = progress_on(terminal, clock)
    clock.now = 1
    progress.advance(1)

    terminal.out_bytes(b"1\n")
    assert "" == screen.line
    clock.now = 2
    progress.advance(1)
    assert "" == screen.line


def test_quiet_shows_no_progress(screen: Screen, clock: Clock) -> None:
    """If only errors are logged, there is no bar."""
    progress = progress_on(at_a_terminal(screen), clock, level="error")

    clock.now = 1
    progress.advance(1)

    assert "" == screen.getvalue()


@pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}])
def test_without_a_terminal_a_line_is_logged_every_five_seconds(
    clock: Clock, environ: dict[str, str]
) -> None:
    """A terminal that can't erase a line gets log lines too."""
    stream = Screen() if environ else io.StringIO()
    progress = progress_on(Terminal(None, None, stream, environ), clock)
    progress.start(100)
    for _ in range(11):
        progress.advance(1)
        clock.now += 1

    lines = stream.getvalue().splitlines()

    assert 2 == len(lines)
    if not environ:
        assert {
            "event": "run.progressed",
            "done": 6,
            "total": 100,
            "per_second": 1,
            "seconds_left": 78,
        } == facts_of(lines[0])


def test_the_log_names_the_unit_and_the_total(clock: Clock) -> None:
    """The unit is omitted for rows, and the total if it is unknown."""
    stream = io.StringIO()
    progress = progress_on(Terminal(None, None, stream, {}), clock)
    progress.start(4_000, unit="bytes")
    clock.now = 10
    progress.advance(1_000, rows=50)
    progress.start(0, unit="keys")
    clock.now = 20
    progress.advance(70)

    assert [
        {
            "event": "run.progressed",
            "unit": "bytes",
            "done": 1_000,
            "total": 4_000,
            "rows": 50,
            "per_second": 5,
            "seconds_left": 30,
        },
        {"event": "run.progressed", "unit": "keys", "done": 70, "per_second": 7},
    ] == [facts_of(line) for line in stream.getvalue().splitlines()]


def facts_of(line: str) -> dict[str, Any]:
    """Return the fields of a line, without those of every line."""
    facts: dict[str, Any] = json.loads(line)
    return {k: v for k, v in facts.items() if k not in _EVERY_LINE}


_EVERY_LINE = {"run_id", "command", "level", "timestamp"}


async def test_a_long_step_shows_its_seconds(screen: Screen, clock: Clock) -> None:
    """They start again with the next step, and the line is erased at the end."""
    steps, ticks, lines = ["applying 0004"], asyncio.Event(), []

    async def tick(_: float) -> None:
        lines.append(screen.line)
        ticks.set()
        await asyncio.sleep(0)
        clock.now += 12
        steps[0] = "applying 0005" if len(lines) > 1 else steps[0]
        if len(lines) > 3:
            await asyncio.Event().wait()

    async with progress_on(at_a_terminal(screen), clock).timing(lambda: steps[0], sleep=tick):
        while len(lines) <= 3:
            ticks.clear()
            await ticks.wait()

    assert [f"applying {step} s" for step in ("0004 ... 0", "0004 ... 12", "0005 ... 0")] == (
        lines[:3]
    )
    assert ("applying 0005 ... 12 s", "") == (lines[3], screen.line)


async def test_without_a_terminal_no_seconds_are_shown(screen: Screen, clock: Clock) -> None:
    """A log would get a line each second."""
    stream = io.StringIO()
    progress = progress_on(Terminal(None, None, stream, {}), clock)

    async with progress.timing(lambda: "applying 0004"):
        await asyncio.sleep(0)

    assert "" == stream.getvalue()
