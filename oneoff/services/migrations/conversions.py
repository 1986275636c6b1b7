"""Change the type of a column where PostgreSQL converts values only if it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.autogenerate.render import _alter_column as render_alter_column
from alembic.autogenerate.render import renderers
from alembic.operations import ops
from sqlalchemy import Enum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy import Dialect


class ConvertColumnOp(ops.AlterColumnOp):
    """Change the type of a column with USING, and set its default again afterwards."""


def convert_columns(operations: Iterable[Any], dialect: Dialect) -> None:
    """Replace the operations that change the kind of a type, such as from text to a number."""
    for one in operations:
        if isinstance(one, ops.ModifyTableOps):
            for place, change in enumerate(one.ops):
                if isinstance(change, ops.AlterColumnOp) and _changes_kind(change, dialect):
                    convert = ConvertColumnOp.__new__(ConvertColumnOp)
                    convert.__dict__.update(change.__dict__)
                    one.ops[place] = convert


def _changes_kind(change: ops.AlterColumnOp, dialect: Dialect) -> bool:
    old, new = change.existing_type, change.modify_type
    if old is None or new is None:
        return False
    if not isinstance(old, Enum) and not isinstance(new, Enum):
        return old._type_affinity is not new._type_affinity
    write = dialect.type_compiler_instance.process
    return write(old).partition("(")[0] != write(new).partition("(")[0]


@renderers.dispatch_for(ConvertColumnOp)
def _render(context: AutogenContext, operation: ConvertColumnOp) -> list[str]:
    """Render up to three calls: drop the default, convert, set the default."""
    default = operation.modify_server_default
    if default is False:
        default = operation.existing_server_default
    convert = ops.AlterColumnOp(operation.table_name, operation.column_name)
    convert.__dict__.update(operation.__dict__)
    convert.modify_server_default = False
    dialect = context.dialect
    name = dialect.identifier_preparer.quote(operation.column_name)
    assert operation.modify_type is not None  # noqa: S101 - `_changes_kind` asked for it
    type_ = dialect.type_compiler_instance.process(operation.modify_type)
    code = render_alter_column(context, convert).removesuffix(")")
    lines = [f"{code}, postgresql_using={f'{name}::{type_}'!r})"]
    if operation.existing_server_default is not None:
        lines.insert(0, _set_default(context, operation, None))
    if default is not None:
        lines.append(_set_default(context, operation, default))
    return lines


def _set_default(context: AutogenContext, operation: ConvertColumnOp, default: Any) -> str:
    change = ops.AlterColumnOp(
        operation.table_name,
        operation.column_name,
        schema=operation.schema,
        modify_server_default=default,
    )
    return render_alter_column(context, change)
