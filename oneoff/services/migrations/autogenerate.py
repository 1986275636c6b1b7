"""Compare the database with the models, and write a revision with the difference."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import produce_migrations
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations.ops import CreateIndexOp, DropIndexOp
from alembic.util import rev_id
from sqlalchemy import Column, Index, text

from oneoff.core.errors import CommandError
from oneoff.services.migrations.alembic_context import run_online
from oneoff.services.migrations.history import History

if TYPE_CHECKING:
    from alembic.operations.ops import OpContainer
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

_SLUG_LENGTH = 40
_INDEXES = text("SELECT name FROM sqlite_master WHERE type = 'index'")
_TYPE = re.compile(r"\b((?:[a-z_]\w*\.)+)[A-Z]\w*\(")
"""A class with its module in rendered code: "app.types.Money("."""
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
class Difference:
    """The operations that make the database match the models.

    Attributes:
        operations: One line for each operation: "add column users.locale".
        upgrade: Python source of the operations.
        downgrade: Python source of their inverse.
        imports: Import lines that the source needs.
    """

    operations: Sequence[str] = ()
    upgrade: str = "pass"
    downgrade: str = "pass"
    imports: Sequence[str] = ()


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


def compare(connection: Connection, history: History) -> Difference:
    """Compare the models in env.py with the database. Only reads."""
    found: list[Difference] = []

    # Alembic calls this with the context that env.py has configured. It then runs the steps that
    # this returns: none.
    def compare_models(_heads: Any, context: MigrationContext) -> tuple[()]:
        found.append(_difference(context))
        return ()

    # Without dont_mutate Alembic would create its version table.
    run_online(connection, history, compare_models, dont_mutate=True)
    return found[0]


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
        imports=_imports(difference),
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
    try:
        compile(new.source, new.path.name, "exec", dont_inherit=True)
    except SyntaxError as exc:
        raise CommandError(
            f"the generated revision is not valid Python: {exc.msg}: {exc.text}",
            why="a type or default of the models has no representation in Python code",
            try_="pass render_item in env.py: run_env(Base.metadata, render_item=...)",
            code="unrenderable-models",
        ) from exc
    source = await _format(new.source, new.path)
    new.path.parent.mkdir(parents=True, exist_ok=True)
    # Renaming is atomic, so a process that reads the folder never finds a half-written revision.
    unfinished = new.path.with_suffix(".tmp")
    try:
        unfinished.write_text(source, encoding="utf-8")
        os.replace(unfinished, new.path)
    finally:
        unfinished.unlink(missing_ok=True)


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


def _difference(context: MigrationContext) -> Difference:
    with warnings.catch_warnings():
        # About what `_missing_expression_indexes` adds.
        warnings.filterwarnings("ignore", message=".*expression-based index")
        script = produce_migrations(context, context.opts["target_metadata"])
    if script.upgrade_ops is None or script.downgrade_ops is None:
        return Difference()
    if context.dialect.name == "sqlite":
        for index in _missing_expression_indexes(context):
            script.upgrade_ops.ops.append(CreateIndexOp.from_index(index))
            script.downgrade_ops.ops.insert(0, DropIndexOp.from_index(index))
    if script.upgrade_ops.is_empty():
        return Difference()
    # SQLite has no ALTER TABLE for most changes; Alembic's batch mode copies the table instead.
    batch = context.opts["render_as_batch"] or context.dialect.name == "sqlite"
    rendering = AutogenContext(context, opts={**context.opts, "render_as_batch": batch})
    rendering.imports = set()
    return Difference(
        operations=tuple(_describe(script.upgrade_ops.as_diffs())),
        upgrade=_render(rendering, script.upgrade_ops),
        downgrade=_render(rendering, script.downgrade_ops),
        imports=sorted(rendering.imports),
    )


def _missing_expression_indexes(context: MigrationContext) -> Iterator[Index]:
    """Yield the indexes on expressions that SQLite does not have.

    SQLAlchemy can't read such an index from SQLite, so Alembic leaves it out of the comparison.
    Whether one exists is known by its name; its expression is not compared.
    """
    connection = context.connection
    names = set(connection.scalars(_INDEXES)) if connection is not None else set()
    given = context.opts["target_metadata"]
    for metadata in given if isinstance(given, Sequence) else [given]:
        for table in metadata.sorted_tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                on_expression = any(not isinstance(one, Column) for one in index.expressions)
                if on_expression and index.name not in names:
                    yield index


def _render(context: AutogenContext, container: OpContainer) -> str:
    """Return the source of operations; those inside a `with batch_alter_table` are indented."""
    lines: list[str] = []
    margin = ""
    for line in (line for operation in container.ops for line in render_op(context, operation)):
        lines.append(indent(line, margin))
        # render_op returns the lines of a batch unindented, between a line that ends with ":" and
        # an empty line.
        margin = "    " if line.endswith(":") else margin if line else ""
    return "\n".join(lines)


def _imports(difference: Difference) -> str:
    """Return the import lines, including the project's own types, which Alembic leaves out."""
    code = difference.upgrade + difference.downgrade
    modules = {name.rstrip(".") for name in _TYPE.findall(code)}
    own = sorted(f"import {name}" for name in modules if name in sys.modules)
    lines = ["import sqlalchemy as sa", "from alembic import op", *difference.imports]
    return "\n".join(lines + ([""] if own else []) + own)


def _describe(diffs: Any) -> Iterable[str]:
    # Alembic returns a tuple for one difference, and a list for the changes of one column.
    if isinstance(diffs, tuple):
        yield _describe_one(*diffs)
    else:
        for diff in diffs:
            yield from _describe(diff)


def _describe_one(kind: str, *facts: Any) -> str:
    verb, _, what = kind.partition("_")
    if kind.startswith("modify_"):
        table, column = facts[1], facts[2]
        return f"change {what.replace('_', ' ')} of {table}.{column} to {facts[-1]}"
    if what == "column":
        return f"{verb} column {facts[1]}.{facts[2].name}"
    subject = facts[0]
    table = getattr(subject, "table", None)
    name = getattr(subject, "name", None) or "without a name"
    on = f" on {table.name}" if table is not None else ""
    return f"{verb} {'foreign key' if what == 'fk' else what.replace('_', ' ')} {name}{on}"


def _body(source: str) -> str:
    return indent(source.strip("\n") or "pass", "    ")


def _docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _literal(down: Sequence[str]) -> str:
    if not down:
        return "None"
    quoted = [f'"{revision}"' for revision in down]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"
