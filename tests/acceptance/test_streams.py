"""Commands whose standard output or standard error can't be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT
from tests.acceptance.test_signals import PROJECT, migrated
from tests.support.database import query

__all__ = ["migrated"]

PYTHON = sys.executable


def shell(
    line: str, environ: dict[str, str], cwd: Path, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """Run one line of bash in a project; `$PY` is the Python interpreter."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=cwd,
        env={**environ, "PY": PYTHON},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding=encoding,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("sink", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", ["hello ada", "hello ada --json"])
def test_lost_output_of_a_run_that_changed_nothing_is_an_error(
    environ: dict[str, str], words: str, sink: str
) -> None:
    """Such a run only produces a result, and nobody can read it."""
    done = shell(f"$PY manage.py {words} {sink}", environ, ROOT)

    assert 1 == done.returncode
    assert "error[output-lost]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("sink", [">/dev/full", ">&-"])
def test_lost_output_does_not_fail_a_run_that_changed_something(
    environ: dict[str, str], migrated: str, sink: str
) -> None:
    """After an error, a scheduler would do the work a second time."""
    done = shell(f"$PY manage.py nest inner {sink}", environ, PROJECT)

    assert 0 == done.returncode, done.stderr
    assert "warning: the work is done, but its result could not be written" in done.stderr
    assert [(1,)] == query(migrated, "SELECT count(*) FROM item")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_character_can_be_written(environ: dict[str, str], encoding: str) -> None:
    """A character that the encoding does not have is written as an escape, as JSON allows."""
    environ |= {"PYTHONIOENCODING": encoding}

    text = shell("$PY manage.py hello Łódź-é-😀", environ, ROOT, encoding)
    data = shell("$PY manage.py hello Łódź-é-😀 --json", environ, ROOT, encoding)

    assert (0, 0) == (text.returncode, data.returncode), text.stderr + data.stderr
    assert "Łódź-é-😀" in json.loads(data.stdout)["message"]


def test_a_closed_pipe_is_not_an_error(environ: dict[str, str]) -> None:
    """For example `head` closes the pipe after its last line."""
    done = shell("$PY manage.py help | head -1", environ, ROOT)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("sink", ["2>/dev/full", "2>&-"])
def test_lost_error_output_does_not_change_the_exit_code(
    environ: dict[str, str], sink: str
) -> None:
    """The exit code still shows success or failure."""
    right = shell(f"$PY manage.py hello ada {sink}", environ, ROOT)
    wrong = shell(f"$PY manage.py helo {sink}", environ, ROOT)

    assert (0, 2) == (right.returncode, wrong.returncode)
    assert "hello" in right.stdout.lower()


def test_with_json_printed_text_goes_to_standard_error(environ: dict[str, str]) -> None:
    """Standard output is one JSON object, even if the command calls `print`."""
    done = shell("$PY manage.py chatter --json", environ, PROJECT)

    assert 1 == done.stdout.count("\n")
    assert "chatter on the way" in done.stderr
