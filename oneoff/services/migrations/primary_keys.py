"""Drop and create a primary key: operations that Alembic can execute, but does not write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.autogenerate.render import renderers
from alembic.operations.ops import MigrateOperation
from sqlalchemy import PrimaryKeyConstraint

from oneoff.services.migrations.constraint_names import default_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.autogenerate.api import AutogenContext


class PrimaryKeyOp(MigrateOperation):
    """Create or drop the primary key of a table.

    Args:
        table: The table.
        schema: Its schema; None for the default schema.
        name: The name of the key; empty for the default name.
        columns: Its columns.
        create: Whether it is created, or dropped.
    """

    def __init__(
        self, table: str, schema: str | None, name: str, columns: Sequence[str], *, create: bool
    ) -> None:
        self.table_name = table
        self.schema = schema
        self.name = name or default_name(PrimaryKeyConstraint, table, ())
        self.columns = list(columns)
        self.create = create

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return PrimaryKeyOp(
            self.table_name, self.schema, self.name, self.columns, create=not self.create
        )

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what the list of operations shows."""
        verb = "add" if self.create else "remove"
        return f"{verb}_primary key", self.table_name, ", ".join(self.columns)


@renderers.dispatch_for(PrimaryKeyOp)
def _render(context: AutogenContext, operation: PrimaryKeyOp) -> str:
    batch = context._has_batch
    arguments = [repr(operation.name)]
    arguments += [] if batch else [repr(operation.table_name)]
    arguments.append(repr(operation.columns) if operation.create else "type_='primary'")
    if operation.schema and not batch:
        arguments.append(f"schema={operation.schema!r}")
    verb = "create_primary_key" if operation.create else "drop_constraint"
    return f"{'batch_op' if batch else 'op'}.{verb}({', '.join(arguments)})"
