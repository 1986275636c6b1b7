"""How far long work is: a bar at a terminal, lines of the log elsewhere."""

from __future__ import annotations

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
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands."""
    return Clock()


@pytest.fixture
def screen() -> Screen:
    """Return what an operator sees."""
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


def test_a_bar_says_how_much_is_done_how_fast_and_how_long_it_takes(
    screen: Screen, clock: Clock
) -> None:
    """And is redrawn at most ten times a second."""
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


def test_without_a_total_it_counts(screen: Screen, clock: Clock) -> None:
    """Also beyond a total, which was an estimate then."""
    progress = progress_on(at_a_terminal(screen), clock)
    progress.start(0, unit="keys")

    clock.now = 2
    progress.advance(3_000)
    assert "3,000 keys  1,500/s" == screen.line

    progress.start(10)
    clock.now = 4
    progress.advance(11)
    assert "11 rows  6/s" == screen.line


def test_bytes_say_how_long_it_takes_and_rows_how_fast_it_is(screen: Screen, clock: Clock) -> None:
    """Of a file the size is known, not the number of rows."""
    progress = progress_on(at_a_terminal(screen), clock)
    progress.start(4_000, unit="bytes")

    clock.now = 2
    progress.advance(1_000, rows=50)

    assert "[#######.......................]  50 rows  25/s  6 s left" == screen.line


def test_the_bar_gives_way_to_what_is_said_and_to_the_end(screen: Screen, clock: Clock) -> None:
    """Neither a warning nor the result stands beside what is left of it."""
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


def test_a_line_is_cut_where_the_terminal_would_wrap_it(screen: Screen, clock: Clock) -> None:
    """A wrapped line could not be taken back."""
    progress = progress_on(at_a_terminal(screen, width=40), clock)
    progress.start(100)

    clock.now = 1
    progress.advance(50)

    assert "[###############...............]  50 of" == screen.line


def test_rows_that_scroll_by_have_no_bar_among_them(
    screen: Screen, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go to the same screen."""
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


def test_quiet_shows_nothing(screen: Screen, clock: Clock) -> None:
    """Errors only means errors only."""
    progress = progress_on(at_a_terminal(screen), clock, level="error")

    clock.now = 1
    progress.advance(1)

    assert "" == screen.getvalue()


@pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}])
def test_elsewhere_a_line_is_logged_every_five_seconds(
    clock: Clock, environ: dict[str, str]
) -> None:
    """Also where a terminal can't take a line back."""
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


def test_the_log_says_what_is_counted(clock: Clock) -> None:
    """Where it is not rows, and no total where none is known."""
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
    """Return what a line says, but for what every line does."""
    facts: dict[str, Any] = json.loads(line)
    return {k: v for k, v in facts.items() if k not in _EVERY_LINE}


_EVERY_LINE = {"run_id", "command", "level", "timestamp"}
