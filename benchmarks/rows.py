"""The rows of the table: the timed commands, their peers, and the goals.

All projects have 500 commands, except in rows that say otherwise.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from errors import BenchmarkError
from measure import Case, check
from workbench import (
    ALEMBIC,
    ASYNC_ALEMBIC,
    CLICK,
    CYCLOPTS,
    DJANGO,
    FEW,
    FLASK,
    LEAN_DJANGO,
    OURS,
    TYPER,
    WITH_RICH,
    Workbench,
)

NOTHING = "report 001 has nothing to do"
ANSWER = "the database answered 1"
COMPLETION = ("completion", "candidates", "--")
WITHOUT_RICH = f"{OURS.name}, without rich"
FEW_COMMANDS = f"{OURS.name}, {FEW} commands"


@dataclass(frozen=True)
class Goal:
    """Our maximum time: `limit` times that of the side `against`, or `limit` milliseconds."""

    limit: float
    against: str | None = None
    stretch: bool = False  # a stretch goal is shown, but missing it is not a failure


@dataclass(frozen=True)
class Row:
    """One row of the table. `peers` and `ours` are called only if the row is measured."""

    name: str
    title: str
    peers: Callable[[Workbench], list[Case]]
    ours: Callable[[Workbench], Case] | None = None
    goals: tuple[Goal, ...] = ()
    database: bool = False
    against_itself: bool = False
    rounds: int = 1  # multiplies --runs, for goals that are smaller than the noise of a few runs


def _bare_python(bench: Workbench) -> list[Case]:
    case = bench.case(DJANGO, expect="")
    return [replace(case, side="python", argv=(case.argv[0], "-c", "pass"))]


def _help_of_peers(bench: Workbench) -> list[Case]:
    return [
        bench.case(DJANGO, "help", expect="report_499"),
        bench.case(LEAN_DJANGO, "help", expect="report_499"),
        bench.case(FLASK, "--help", expect="Write report number 499."),
        bench.case(TYPER, "--help", expect="Write report number 499."),
        bench.case(CLICK, "--help", expect="Write report number 499."),
        bench.case(CYCLOPTS, "--help", expect="report-499"),
    ]


def _help_of_django(bench: Workbench) -> list[Case]:
    return _help_of_peers(bench)[:2]


def _help(bench: Workbench) -> Case:
    return bench.case(OURS, "help", expect="Write report number 499")


def _help_of_few(bench: Workbench) -> list[Case]:
    expect = "Write report number 004"
    return [bench.case(OURS, "help", expect=expect, commands=FEW, label=FEW_COMMANDS)]


def _cold_help(bench: Workbench) -> Case:
    """Return `help` without our index, which is deleted before each run."""
    # Without an index that is written and deleted, "cold" would measure the same as "warm".
    home = bench.folder / "cold-cache"
    cache = home / OURS.name
    expect = "Write report number 499"
    case = bench.case(OURS, "help", expect=expect, env={"XDG_CACHE_HOME": str(home)})
    check(case)
    if not cache.is_dir():
        raise BenchmarkError(f"help wrote no index under {cache}; cold and warm would be the same")
    return replace(case, before=lambda: _remove(cache))


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _nothing_of_peers(bench: Workbench) -> list[Case]:
    return [
        bench.case(DJANGO, "report_001", expect=NOTHING),
        bench.case(LEAN_DJANGO, "report_001", expect=NOTHING),
        bench.case(FLASK, "report-001", expect=NOTHING),
        bench.case(TYPER, "report-001", expect=NOTHING),
        bench.case(CLICK, "report-001", expect=NOTHING),
        bench.case(CYCLOPTS, "report-001", expect=NOTHING),
    ]


def _nothing(bench: Workbench) -> Case:
    return bench.case(OURS, "report-001", expect=NOTHING)


def _nothing_of_few(bench: Workbench) -> list[Case]:
    return [bench.case(OURS, "report-001", expect=NOTHING, commands=FEW, label=FEW_COMMANDS)]


def _session_of_peers(bench: Workbench) -> list[Case]:
    return [bench.migrated(side, "answer", expect=ANSWER) for side in (DJANGO, LEAN_DJANGO, FLASK)]


def _session(bench: Workbench) -> Case:
    """Return `answer`; check that the run is recorded, because the record is part of its time."""
    case = bench.migrated(OURS, "answer", expect=ANSWER)
    check(case)
    check(bench.migrated(OURS, "audit", "list", expect="answer"))
    return case


def _session_without_rich(bench: Workbench) -> list[Case]:
    return [replace(_session(bench), side=WITHOUT_RICH)]


def _session_with_rich(bench: Workbench) -> Case:
    return replace(bench.migrated(WITH_RICH, "answer", expect=ANSWER), side=OURS.name)


def _migrate_of_peers(bench: Workbench) -> list[Case]:
    silent = [bench.migrated(s, *s.migrate, expect="") for s in (ALEMBIC, ASYNC_ALEMBIC, FLASK)]
    return [
        *(replace(case, forbid="Running upgrade") for case in silent),
        bench.migrated(DJANGO, "migrate", expect="No migrations to apply."),
        bench.migrated(LEAN_DJANGO, "migrate", expect="No migrations to apply."),
    ]


def _migrate(bench: Workbench) -> Case:
    return bench.migrated(OURS, "migrate", expect="nothing to do")


def _completion_of_peers(bench: Workbench) -> list[Case]:
    words = {"COMP_WORDS": "manage.py ans", "COMP_CWORD": "1"}
    of_django = words | {"DJANGO_AUTO_COMPLETE": "1"}
    of_click = words | {"_MANAGE_COMPLETE": "bash_complete"}
    return [
        bench.case(DJANGO, expect="answer", env=of_django),
        bench.case(CLICK, expect="answer", env=of_click),
    ]


def _completion(bench: Workbench) -> Case:
    return bench.case(OURS, *COMPLETION, "ans", expect="answer")


ROWS = (
    Row("python", "bare `python -c pass`", _bare_python),
    Row("help", "help, index warm", _help_of_peers, _help, (Goal(0.15, DJANGO.name),)),
    Row("help-cold", "help, index cold", _help_of_django, _cold_help, (Goal(0.5, DJANGO.name),)),
    Row(
        "help-scale",
        f"help, 500 against {FEW} commands",
        _help_of_few,
        _help,
        (Goal(1.1, FEW_COMMANDS),),
        against_itself=True,
        rounds=3,
    ),
    Row(
        "nothing",
        "a command that asks for nothing",
        _nothing_of_peers,
        _nothing,
        (Goal(0.3, DJANGO.name),),
    ),
    Row(
        "nothing-scale",
        f"the same, 500 against {FEW} commands",
        _nothing_of_few,
        _nothing,
        (Goal(1.1, FEW_COMMANDS),),
        against_itself=True,
        rounds=3,
    ),
    Row(
        "session",
        "a command with a session, and its run record",
        _session_of_peers,
        _session,
        (Goal(0.95, DJANGO.name), Goal(0.8, DJANGO.name, stretch=True)),
        database=True,
    ),
    Row(
        "session-rich",
        "the same where rich is installed",
        _session_without_rich,
        _session_with_rich,
        (Goal(1.05, WITHOUT_RICH),),
        database=True,
        against_itself=True,
        rounds=3,
    ),
    Row(
        "migrate",
        "migrate, nothing to do",
        _migrate_of_peers,
        _migrate,
        (
            Goal(0.9, ALEMBIC.name),
            Goal(0.9, ASYNC_ALEMBIC.name),
            Goal(1.0, DJANGO.name),
            Goal(0.5, DJANGO.name, stretch=True),
        ),
        database=True,
    ),
    Row("completion", "completion of a name", _completion_of_peers, _completion, (Goal(40),)),
)
