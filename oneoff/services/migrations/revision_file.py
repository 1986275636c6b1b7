"""Write a revision file: nothing is left of it if that fails."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

from alembic.util import rev_id

from oneoff.core.errors import CommandError
from oneoff.services.migrations.autogenerate import Difference
from oneoff.services.migrations.history import History
from oneoff.services.migrations.rendering import undefined_names

_SLUG_LENGTH = 40
_FILE = '''"""{message}.

{about}
"""

from __future__ import annotations

{imports}

revision = "{revision}"
down_revision = {down_revision}


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''


@dataclass(frozen=True, slots=True)
class Draft:
    """A revision whose file is not written yet.

    Attributes:
        revision: Its identifier.
        path: Where the file will be written.
        source: The text of the file, not formatted yet.
        operations: As in `Difference`.
    """

    revision: str
    path: Path
    source: str
    operations: Sequence[str]


def draft(history: History, message: str, difference: Difference, down: Sequence[str]) -> Draft:
    """Return a new revision, which `write` saves.

    Args:
        history: The revisions to which it is added.
        message: What the revision is for; the first line of its docstring.
        difference: Its operations. If there are none, its functions are empty.
        down: The revisions that it follows: none, one, or several for a merge.
    """
    revision = rev_id()
    now = datetime.now(UTC)
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")[:_SLUG_LENGTH].strip("_")
    about = [f"- {operation}" for operation in difference.operations]
    about += [""] if about else []
    about += [
        f"Revision {revision}, after {', '.join(down) or 'nothing'}; {now:%Y-%m-%d %H:%M} UTC"
    ]
    source = _FILE.format(
        message=_docstring(message.rstrip(".")),
        about=_docstring("\n".join(about)),
        imports="\n".join(
            ["import sqlalchemy as sa", "from alembic import op", *difference.imports]
        ),
        revision=revision,
        down_revision=_literal(down),
        upgrade=_body(difference.upgrade),
        downgrade=_body(difference.downgrade),
    )
    path = history.versions / f"{now:%Y%m%d}_{revision}_{slug}.py"
    return Draft(revision, path, source, difference.operations)


async def write(new: Draft) -> None:
    """Format the source and write the file.

    Raises:
        CommandError: The source is not valid Python. Nothing was written.
    """
    check_source(new)
    source = await _format(new.source, new.path)
    new.path.parent.mkdir(parents=True, exist_ok=True)
    # Renaming is atomic, so a process that reads the folder never finds a half-written revision.
    unfinished = new.path.with_suffix(".tmp")
    try:
        unfinished.write_text(source, encoding="utf-8")
        os.replace(unfinished, new.path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_source(new: Draft) -> None:
    """Check that the source can be compiled and uses only names that it defines.

    Raises:
        CommandError: It does not.
    """
    try:
        compile(new.source, new.path.name, "exec", dont_inherit=True)
    except SyntaxError as exc:
        raise _unrenderable(f"is not valid Python: {exc.msg}: {exc.text}") from exc
    unknown = sorted({name.id for name in undefined_names(new.source)})
    if unknown:
        raise _unrenderable(f"uses a name that it does not define: {', '.join(unknown)}")


def _unrenderable(problem: str) -> CommandError:
    return CommandError(
        f"the generated revision {problem}",
        why="a type or default of the models has no representation in Python code",
        try_="pass render_item in env.py: run_env(Base.metadata, render_item=...)",
        code="unrenderable-models",
    )


async def _format(source: str, path: Path) -> str:
    """Return the source formatted by ruff or black, or unchanged if neither is installed."""
    if find_spec("ruff"):
        command = ["ruff", "format", "--stdin-filename", str(path), "-"]
    elif find_spec("black"):
        command = ["black", "--quiet", "--stdin-filename", str(path), "-"]
    else:
        return source
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    formatted, _ = await process.communicate(source.encode())
    return formatted.decode() if process.returncode == 0 and formatted else source


def _body(source: str) -> str:
    return indent(source.strip("\n") or "pass", "    ")


def _docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _literal(down: Sequence[str]) -> str:
    if not down:
        return "None"
    quoted = [f'"{revision}"' for revision in down]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"
