"""Render pieces of revisions as SQL, and check them without a database."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects.postgresql import JSONB, UUID, ExcludeConstraint

from oneoff.services.migrations.lint.checks import Checks
from oneoff.services.migrations.lint.facts import Facts, TableFacts

FACTS = Facts(
    150_004,
    {
        "users": TableFacts(
            1_000_000, 2**30, types={"name": "character varying(50)", "age": "integer"}
        )
    },
)


def _offline() -> tuple[StringIO, MigrationContext]:
    buffer = StringIO()
    options = {"as_sql": True, "output_buffer": buffer, "transactional_ddl": True}
    options |= {"transaction_per_migration": True, "literal_binds": True}
    return buffer, MigrationContext.configure(dialect_name="postgresql", opts=options)


def render(code: str) -> str:
    """Return the SQL of a revision, as `db migrate --dry-run` shows it."""
    buffer, context = _offline()
    names = {"op": Operations(context), "sa": sa}
    names |= {"JSONB": JSONB, "UUID": UUID, "ExcludeConstraint": ExcludeConstraint}
    with Operations.context(context), context.begin_transaction(_per_migration=True):
        exec(code, names)  # noqa: S102 - written in this repository
    return buffer.getvalue()


def render_file(path: Path) -> str:
    """Return the SQL of a revision file."""
    module: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), module)  # noqa: S102
    buffer, context = _offline()
    with Operations.context(context), context.begin_transaction(_per_migration=True):
        module["upgrade"]()
    return buffer.getvalue()


def rules_broken(texts: Iterable[str], facts: Facts = FACTS, *, strict: bool = True) -> list[str]:
    """Return the rules that the SQL of revisions breaks, one after the other."""
    checks = Checks(facts, strict=strict)
    return [rule for text in texts for rule, _ in checks.of_revision(text)]
