"""Run the post-write hooks of Alembic's configuration on new revision files.

Without hooks, a file is formatted by ruff or black if one of them is installed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from alembic.script import write_hooks

from oneoff.core.errors import CommandError
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from oneoff.services.migrations.history import History

_FORMATTERS = {
    "ruff": "-m ruff format REVISION_SCRIPT_FILENAME",
    "black": "-m black --quiet REVISION_SCRIPT_FILENAME",
}


def run_hooks(history: History, paths: Sequence[Path]) -> list[str]:
    """Run all hooks on each file; return a warning for each one that ended with an exit code.

    As with Alembic, that is no error: a linter ends like this when it has complaints. What hooks
    print is not shown, because standard output is the result of the command.

    Raises:
        CommandError: A hook could not be run.
    """
    found: list[str] = []

    def run(command: list[str], *, cwd: str | None = None, **_: Any) -> None:
        done = subprocess.run(
            command,
            cwd=history.root / (cwd or ""),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = done.stdout.strip().partition("\n")[0]
            found.append(f"a post-write hook ended with exit code {done.returncode}: {said}")

    module: Any = write_hooks
    usual = module.subprocess
    hooks = history.config.get_hooks_list() or _formatter()
    try:
        # Alembic starts the programs of hooks with `subprocess.run`, on the standard output.
        module.subprocess = SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL)
        with redirect_stdout(StringIO()):  # Alembic names each hook there
            for path in paths:
                write_hooks._run_hooks(str(path), hooks)
    except Exception as exc:
        raise CommandError(
            f"the revision was not written: a post-write hook failed: {first_line(exc)}",
            why="the hooks are set in Alembic's configuration; nothing is left of the file",
            try_="correct [post_write_hooks] in alembic.ini",
            code="post-write-hook-failed",
        ) from exc
    finally:
        module.subprocess = usual
    return found


def _formatter() -> list[Any]:
    for name, options in _FORMATTERS.items():
        if find_spec(name):
            hook = {"_hook_name": name, "type": "exec", "executable": sys.executable}
            return [hook | {"options": options}]
    return []
