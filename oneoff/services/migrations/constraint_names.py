"""Give a name to a constraint that the model leaves without one, as PostgreSQL does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from alembic.operations import ops
from alembic.util.sqla_compat import _get_constraint_final_name
from sqlalchemy import (
    CheckConstraint,
    Dialect,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from sqlalchemy.schema import Constraint

_MAX_NAME = 63  # bytes of a name that PostgreSQL keeps
_SUFFIXES: dict[type[Constraint], str] = {
    UniqueConstraint: "key",
    ForeignKeyConstraint: "fkey",
    CheckConstraint: "check",
    PrimaryKeyConstraint: "pkey",
}


def default_name(kind: type[Constraint], table: str, columns: Iterable[str]) -> str:
    """Return the name of a constraint, such as "users_email_key"."""
    suffix = _SUFFIXES[kind]
    parts = [table] if kind is PrimaryKeyConstraint else [table, *columns]
    room = _MAX_NAME - len(suffix) - 1
    return f"{'_'.join(parts).encode()[:room].decode(errors='ignore')}_{suffix}"


def final_name(constraint: Constraint, dialect: Dialect) -> str:
    """Return the name by the naming convention, without quotes; empty if there is none."""
    return str(_get_constraint_final_name(constraint, dialect) or "")


def name_for(constraint: Constraint) -> str:
    """Return the default name of a constraint of a table."""
    columns = [column.name for column in getattr(constraint, "columns", ())]
    kind = next(kind for kind in _SUFFIXES if isinstance(constraint, kind))
    return default_name(kind, constraint.table.name, columns)


def name_operations(operations: Iterable[Any]) -> None:
    """Give the default name to constraints without a name, so that each can be dropped again."""
    for one in operations:
        if isinstance(one, ops.OpContainer):
            name_operations(one.ops)
        elif getattr(one, "constraint_name", "") is None:
            one.constraint_name = name_for(one.to_constraint())
            # What is created again later gets the same name.
            reverse = getattr(one, "_reverse", None)
            if reverse is not None:
                reverse.constraint_name = one.constraint_name
