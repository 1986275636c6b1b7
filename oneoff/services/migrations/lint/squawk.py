"""Ask squawk, if it is installed, for what the rules of oneoff do not cover."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from oneoff.core.errors import CommandError
from oneoff.services.migrations.lint.rules import SQUAWK
from oneoff.utils.text import first_line

_TIMEOUT = 30.0  # seconds; it takes some milliseconds


class Violation(NamedTuple):
    """What squawk has found.

    Attributes:
        place: The position of the revision in what was checked.
        rule: The name of squawk's rule.
        message: squawk's explanation.
    """

    place: int
    rule: str
    message: str


def find_squawk() -> str:
    """Return the path of squawk, or an empty text; the one of this environment comes first."""
    return shutil.which("squawk", path=str(Path(sys.executable).parent)) or (
        shutil.which("squawk") or ""
    )


async def run_squawk(program: str, revisions: Sequence[str], version: int) -> list[Violation]:
    """Return what squawk finds in the SQL of revisions, by the rules in `SQUAWK`.

    Args:
        program: The path of squawk.
        revisions: The SQL of each revision.
        version: Of the server, such as 150004.

    Raises:
        CommandError: squawk failed.
    """
    with tempfile.TemporaryDirectory(prefix="oneoff-lint-") as folder:
        # In this folder it finds no settings of the project, which could switch rules off.
        names = _write(folder, revisions)
        process = await asyncio.create_subprocess_exec(
            program,
            *("--reporter", "json", "--pg-version", f"{version // 10_000}.0"),
            *names,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), _TIMEOUT)
            found = json.loads(output)
        except (ValueError, TimeoutError) as exc:
            raise _failed(program, exc, locals().get("errors", b"")) from exc
        finally:
            if process.returncode is None:
                process.kill()
    return [
        Violation(int(Path(one["file"]).stem), one["rule_name"], one["message"])
        for one in found
        if one["rule_name"] in SQUAWK
    ]


def _write(folder: str, revisions: Sequence[str]) -> list[str]:
    files = [Path(folder, f"{place}.sql") for place in range(len(revisions))]
    for file, sql in zip(files, revisions, strict=True):
        file.write_text(sql, encoding="utf-8")
    return [file.name for file in files]


def _failed(program: str, exc: Exception, errors: bytes) -> CommandError:
    said = errors.decode(errors="replace").strip().partition("\n")[0]
    return CommandError(
        f"{program} failed: {said or first_line(exc)}",
        why="it checks the SQL of the revisions where it is installed",
        try_="correct it, or uninstall squawk-cli: the rules of oneoff work without it",
        code="squawk-failed",
    )
