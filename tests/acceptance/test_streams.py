"""Standard output that can't be written, and standard error that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT
from tests.acceptance.test_signals import PROJECT

PYTHON = sys.executable


def shell(line: str, environ: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one line of sh in a project; `$PY` is the interpreter."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=cwd,
        env={**environ, "PY": PYTHON},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("sink", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", ["hello ada", "hello ada --json"])
def test_lost_output_is_no_success(environ: dict[str, str], words: str, sink: str) -> None:
    """A password that is shown once and got lost must not pass for done."""
    done = shell(f"$PY manage.py {words} {sink}", environ, ROOT)

    assert 1 == done.returncode
    assert "error[output-lost]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(environ: dict[str, str]) -> None:
    """`head` has seen enough."""
    done = shell("$PY manage.py help | head -1", environ, ROOT)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("sink", ["2>/dev/full", "2>&-"])
def test_lost_errors_change_no_exit_code(environ: dict[str, str], sink: str) -> None:
    """The code is what still tells."""
    right = shell(f"$PY manage.py hello ada {sink}", environ, ROOT)
    wrong = shell(f"$PY manage.py helo {sink}", environ, ROOT)

    assert (0, 2) == (right.returncode, wrong.returncode)
    assert "hello" in right.stdout.lower()


def test_what_an_author_prints_does_not_stand_beside_the_json(environ: dict[str, str]) -> None:
    """With --json standard output is one object, whatever the code says on the way."""
    done = shell("$PY manage.py chatter --json", environ, PROJECT)

    assert 1 == done.stdout.count("\n")
    assert "chatter on the way" in done.stderr
