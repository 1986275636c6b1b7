"""Compare what Alembic leaves out: defaults, generated columns, primary keys, lengths, checks.

An expression that the database has stored is written differently from the model's. PostgreSQL is
asked for its own form of both, with EXPLAIN, which runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.util.sqla_compat import _is_type_bound
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Table,
)
from sqlalchemy.exc import DBAPIError

from oneoff.services.migrations.constraint_names import final_name
from oneoff.services.migrations.primary_keys import PrimaryKeyOp
from oneoff.services.migrations.sqlite_sql import normalized, tokens

if TYPE_CHECKING:
    from alembic.operations.ops import UpgradeOps
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, Constraint
    from sqlalchemy.types import TypeEngine

_TYPE = re.compile(r"(?P<name>[^(]*)(?:\((?P<arguments>[^)]*)\))?(?P<rest>.*)", re.DOTALL)
_COLLATE = re.compile(r"""\s+COLLATE\s+("[^"]*"|\w+)""", re.IGNORECASE)
_CAST = re.compile(
    r"::\s*(?:[\w.]+|\"[^\"]+\")(?:\s+(?:varying|precision))?(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*"
)
# How PostgreSQL stores IN and NOT IN: x = ANY (ARRAY[1, 2]), x <> ALL (ARRAY[1, 2])
_LIST = re.compile(
    r"(?P<how>=\s*ANY|<>\s*ALL)\s*\(+ARRAY\[(?P<values>(?:'(?:[^']|'')*'|[^]'])*)\]", re.IGNORECASE
)

_BOTH = "oneoff_tables"  # key in the options of a context


@comparators.dispatch_for("table")
def _keep_tables(
    context: AutogenContext,
    _changes: object,
    _schema: object,
    _name: object,
    present: Table | None,
    model: Table | None,
) -> None:
    """Keep the tables that Alembic has read from the database, each with its model."""
    if present is not None and model is not None and _BOTH in context.opts:
        context.opts[_BOTH].append((present, model))


def compare_type(
    context: MigrationContext,
    _column: Column[Any],
    _model_column: Column[Any],
    present: TypeEngine[Any],
    wanted: TypeEngine[Any],
) -> bool | None:
    """Return True if two types differ only in length or precision; None leaves it to Alembic.

    Alembic takes a type without length for equal to each length.
    """
    found, model = (_parts(type_, context) for type_ in (present, wanted))
    return True if found and model and found[0] == model[0] and found[1] != model[1] else None


def _parts(type_: TypeEngine[Any], context: MigrationContext) -> tuple[str, str] | None:
    try:
        written = _COLLATE.sub("", context.dialect.type_compiler_instance.process(type_)).upper()
    except Exception:  # noqa: BLE001 - a type without a name in this database
        return None
    match = _TYPE.fullmatch(written)
    if match is None:
        return None
    name = f"{match['name'].strip()}{match['rest']}"
    return name, (match["arguments"] or "").replace(" ", "")


class Comparison:
    """Compares with one database.

    Args:
        context: Alembic's context, with the connection and the options of env.py.
    """

    def __init__(self, context: MigrationContext) -> None:
        assert context.connection is not None  # noqa: S101 - only offline runs have none
        self._context = context
        self._connection: Connection = context.connection
        self._autogen = AutogenContext(context)
        self._here = context.dialect.default_schema_name
        self._both: list[tuple[Table, Table]] = []
        context.opts[_BOTH] = self._both
        # The signature of Alembic's method. It would evaluate both defaults and compare them.
        context.impl.compare_server_default = self._defaults_differ  # type: ignore[method-assign]
        context.opts["include_object"] = self._only_comparable(context.opts.get("include_object"))

    @property
    def tables(self) -> list[Table]:
        """The tables of the models that are compared."""
        given = self._context.opts["target_metadata"]
        metadatas = given if isinstance(given, Sequence) else [given]
        return [
            table
            for metadata in metadatas
            for _, table in sorted(metadata.tables.items())
            if self._included(table, "table")
        ]

    def complete(self, upgrade: UpgradeOps) -> None:
        """Add the differences that Alembic did not find, and remove those that are none."""
        for change in upgrade.ops:
            if isinstance(change, ops.ModifyTableOps):
                self._remove_equal_keys(change)
        for present, model in self._both:
            self._complete_table(self._changes_of(upgrade, present), present, model)
        upgrade.ops[:] = [
            one for one in upgrade.ops if not isinstance(one, ops.ModifyTableOps) or one.ops
        ]

    def _complete_table(self, changes: ops.ModifyTableOps, present: Table, model: Table) -> None:
        gone, wanted = self._checks(present, model)
        keys = self._primary_keys(present, model)
        drops = [one for one in changes.ops if isinstance(one, ops.DropColumnOp)]
        others = [one for one in changes.ops if one not in drops]
        made = {name for one in others for name in _columns_with_type(one)}
        # A new check may need a new column, and an old one the column that is dropped. Alembic adds
        # the check of a type, such as Boolean, together with the column.
        new = [
            ops.AddConstraintOp.from_constraint(check)
            for check in wanted
            if not (_is_type_bound(check) and made & {column.name for column in check.columns})
        ]
        changes.ops[:] = [
            *map(ops.DropConstraintOp.from_constraint, gone),
            # A column of the key can become nullable only after the key is dropped.
            *(one for one in keys if not one.create),
            *self._column_changes(present, model),
            *others,
            *(one for one in keys if one.create),
            *drops,
            *new,
        ]

    def _only_comparable(self, wanted: Any) -> Any:
        def include_object(item: Any, name: Any, kind: Any, reflected: Any, other: Any) -> bool:
            if kind == "column" and other is not None and not self._comparable(item, other):
                return False  # `_column_changes` replaces the column
            return wanted is None or wanted(item, name, kind, reflected, other)

        return include_object

    def _included(self, item: Any, kind: Any, present: Any = None) -> bool:
        return self._autogen.run_object_filters(
            item, item.name, kind, reflected=False, compare_to=present
        )

    def _changes_of(self, upgrade: UpgradeOps, table: Table) -> ops.ModifyTableOps:
        for change in upgrade.ops:
            if isinstance(change, ops.ModifyTableOps) and (change.table_name, change.schema) == (
                table.name,
                table.schema,
            ):
                return change
        change = ops.ModifyTableOps(table.name, [], schema=table.schema)
        upgrade.ops.append(change)
        return change

    def _column_changes(self, present: Table, model: Table) -> Iterator[ops.MigrateOperation]:
        """Yield a drop and an add for each generated column that is generated differently."""
        for wanted in model.columns:
            column = present.columns.get(wanted.name)
            if column is None or not self._included(wanted, "column", column):
                continue
            one, other = column.computed, wanted.computed
            if not self._comparable(wanted, column):
                yield from self._replace(present, column, wanted)
            if one is None and other is None:
                continue
            if (
                one is None
                or other is None
                or not self._same(str(one.sqltext), self._sql(other.sqltext), present, column)
            ):
                yield from self._replace(present, column, wanted)

    @staticmethod
    def _comparable(model: Column[Any], present: Column[Any]) -> bool:
        """Return whether Alembic can compare two columns: not an identity with a default."""
        defaults = model.server_default, present.server_default
        return None in defaults or (model.identity is None) == (present.identity is None)

    def _replace(
        self, present: Table, column: Column[Any], wanted: Column[Any]
    ) -> Iterator[ops.MigrateOperation]:
        indexes = [one for one in present.indexes if column.name in one.columns]
        for index in indexes:
            yield ops.DropIndexOp.from_index(index)
        yield ops.DropColumnOp.from_column_and_tablename(present.schema, present.name, column)
        yield ops.AddColumnOp.from_column_and_tablename(present.schema, present.name, wanted)
        for index in indexes:
            yield ops.CreateIndexOp.from_index(index)

    def _checks(
        self, present: Table, model: Table
    ) -> tuple[list[CheckConstraint], list[CheckConstraint]]:
        """Return the checks to drop and to add; on SQLite only those that have a name."""
        found, wanted = _checks_of(present), _checks_of(model)
        if self._context.dialect.name == "sqlite":
            found = [check for check in found if check.name]
            wanted = [check for check in wanted if self._name(check)]
        for check in list(wanted):
            same = next((one for one in found if self._same_check(one, check, present)), None)
            if same is not None:
                found.remove(same)
                wanted.remove(check)
        return found, wanted

    def _same_check(self, old: CheckConstraint, new: CheckConstraint, table: Table) -> bool:
        name = self._name(new)
        if name and str(old.name) != name:
            return False
        return self._same(str(old.sqltext), self._sql(new.sqltext), table)

    def _name(self, constraint: Constraint) -> str:
        return final_name(constraint, self._context.dialect)

    def _primary_keys(self, present: Table, model: Table) -> list[PrimaryKeyOp]:
        """Return the operations that drop the old key and create the new one; none if equal."""
        old = [column.name for column in present.primary_key.columns]
        new = [column.name for column in model.primary_key.columns]
        if old == new:
            return []
        where = present.name, present.schema
        drop = PrimaryKeyOp(*where, str(present.primary_key.name or ""), old, create=False)
        create = PrimaryKeyOp(*where, self._name(model.primary_key), new, create=True)
        return [one for one in (drop, create) if one.columns]

    def _remove_equal_keys(self, change: ops.ModifyTableOps) -> None:
        """Remove foreign keys that differ only in whether they name the default schema."""
        dropped = {}
        for one in change.ops:
            if isinstance(one, ops.DropConstraintOp) and one.constraint_type == "foreignkey":
                dropped[self._signature(one.to_constraint())] = one
        for one in list(change.ops):
            if isinstance(one, ops.CreateForeignKeyOp):
                same = dropped.get(self._signature(one.to_constraint()))
                if same is not None:
                    change.ops.remove(one)
                    change.ops.remove(same)

    def _signature(self, key: Any) -> tuple[Any, ...]:
        assert isinstance(key, ForeignKeyConstraint)  # noqa: S101
        targets = []
        for element in key.elements:
            *schema, table, column = element.target_fullname.split(".")
            targets.append((".".join(schema) or self._here, table, column))
        options = [(one or "NO ACTION").upper() for one in (key.ondelete, key.onupdate)]
        return (*key.column_keys, *targets, *options, bool(key.deferrable), key.initially)

    def _defaults_differ(
        self,
        column: Column[Any],
        model: Column[Any],
        _rendered: str | None,
        present: str | None,
    ) -> bool:
        if model.table._autoincrement_column is model and model.server_default is None:
            return False  # its sequence belongs to the column
        wanted = self._context.dialect.ddl_compiler(
            self._context.dialect,
            None,  # type: ignore[arg-type]
        ).get_column_default_string(model)
        if present is None or wanted is None:
            return present is not wanted
        return not self._same(present, wanted, None, column)

    def _sql(self, expression: Any) -> str:
        return str(
            expression.compile(
                dialect=self._context.dialect,
                compile_kwargs={"literal_binds": True, "include_table": False},
            )
        )

    def _same(
        self, one: str, other: str, table: Table | None, column: Column[Any] | None = None
    ) -> bool:
        """Return whether two expressions are the same, for a column or a check of a table."""
        if _plain(one) == _plain(other):
            return True
        if self._context.dialect.name != "postgresql":
            return False
        return self._stored_alike((one, other), table, column)

    def _stored_alike(
        self, expressions: Sequence[str], table: Table | None, column: Column[Any] | None
    ) -> bool:
        """Return whether two expressions have the same form in PostgreSQL, which accepts both."""
        dialect = self._context.dialect
        if column is not None:
            type_ = dialect.type_compiler_instance.process(column.type)
            expressions = [f"CAST({one} AS {type_})" for one in expressions]
        source = ""
        if table is not None:
            source = f" FROM {dialect.identifier_preparer.format_table(table)}"
        try:
            with self._connection.begin_nested():
                # The expressions are the project's own code, as in its CREATE TABLE.
                plan = self._connection.exec_driver_sql(
                    "EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) "
                    f"SELECT {', '.join(expressions)}{source}"
                )
                one, other = plan.scalar_one()[0]["Plan"]["Output"]
        except DBAPIError:
            return False
        return bool(one == other)


def _columns_with_type(operation: Any) -> list[str]:
    """Return the column that an operation adds, or whose type it changes."""
    if isinstance(operation, ops.AddColumnOp):
        return [operation.column.name]
    if isinstance(operation, ops.AlterColumnOp) and operation.modify_type is not None:
        return [operation.column_name]
    return []


def _checks_of(table: Table) -> list[CheckConstraint]:
    checks = [one for one in table.constraints if isinstance(one, CheckConstraint)]
    return sorted(checks, key=lambda check: str(check.name))


def _plain(sql: str) -> list[str]:
    """Return what is left of an expression without parentheses, casts and quotes of names."""
    written = _LIST.sub(
        lambda found: f"{'IN' if found['how'][0] == '=' else 'NOT IN'} ({found['values']}",
        _CAST.sub("", sql),
    )
    words = normalized(tokens(written))
    words = [word for word in words if word not in ("(", ")")]
    # A string that is the whole expression is a value: '1' is stored for a default of 1.
    return [words[0].strip("'")] if len(words) == 1 else words
