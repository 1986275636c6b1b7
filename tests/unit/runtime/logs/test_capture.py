"""Logs are redirected during a run, and all hooks are restored after it."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oneoff.config.operator_identity import identify
from oneoff.config.settings import load_config
from oneoff.core.options import GlobalOptions
from oneoff.core.project import Project
from oneoff.core.run import Run
from oneoff.runtime.logs.capture import capturing, without_printing
from oneoff.runtime.logs.loggers import Logs, level_of
from oneoff.runtime.terminal import Terminal
from oneoff.utils.redaction import Redactor


def run(number: str) -> Run:
    """Return the facts of a run."""
    return Run(
        id=number,
        command="user list",
        dry_run=False,
        operator=identify({"OPERATOR": "ada"}),
        environment="test",
        reason="",
        ticket="",
        started_at=datetime.now(UTC),
    )


def test_a_line_carries_the_id_of_the_innermost_run() -> None:
    """If a command calls another, the lines before and after the call name the caller."""
    stream = io.StringIO()
    logs = Logs(Terminal(None, None, stream, {}), Redactor({}), "info")
    log = logging.getLogger("some.library")

    with capturing(logs, run("outer")):
        log.warning("before")
        with capturing(logs, run("inner")):
            log.warning("within")
        log.warning("after")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [("outer", "before"), ("inner", "within"), ("outer", "after")] == [
        (line["run_id"], line["event"]) for line in lines
    ]


def test_all_hooks_are_restored() -> None:
    """The next run of the same process and a test's own logging find the previous hooks."""
    root = logging.getLogger()
    printing = logging.StreamHandler(sys.stderr)
    root.addHandler(printing)
    try:
        before = [*root.handlers], warnings.showwarning, threading.excepthook, sys.unraisablehook

        with capturing(Logs(Terminal(None, None, None, {}), Redactor({}), "info")):
            assert printing not in root.handlers
            assert sys.unraisablehook is not before[3]

        after = [*root.handlers], warnings.showwarning, threading.excepthook, sys.unraisablehook
        assert before == after
    finally:
        root.removeHandler(printing)


def test_handlers_that_write_to_files_are_kept(tmp_path: Path) -> None:
    """Only handlers that print next to our own lines are removed."""
    to_file = logging.FileHandler(tmp_path / "app.log")
    try:
        assert [to_file] == without_printing([logging.StreamHandler(sys.stderr), to_file])
    finally:
        to_file.close()


@pytest.mark.parametrize(
    ("flags", "environ", "readable", "expected"),
    [
        ({}, {}, False, "info"),
        ({}, {"LOG_LEVEL": "debug"}, False, "debug"),
        ({}, {}, True, "warning"),
        ({}, {"LOG_LEVEL": "info"}, True, "info"),
        ({}, {"LOG_FORMAT": "json"}, True, "info"),
        ({"verbose": 1}, {}, True, "info"),
        ({"verbose": 2}, {"LOG_LEVEL": "error"}, False, "debug"),
        ({"debug": True}, {}, True, "debug"),
        ({"quiet": True, "verbose": 2}, {"LOG_LEVEL": "debug"}, False, "error"),
    ],
)
def test_the_level_comes_from_options_then_settings_then_terminal(
    tmp_path: Path,
    flags: dict[str, int],
    environ: dict[str, str],
    *,
    readable: bool,
    expected: str,
) -> None:
    """The operator reads results, so less is logged at a terminal by default."""
    options = GlobalOptions()
    for name, value in flags.items():
        setattr(options, name, value)
    terminal = Terminal(None, None, None, {})
    terminal.is_watched = readable

    assert expected == level_of(load_config(tmp_path, Project("shop"), environ), options, terminal)
