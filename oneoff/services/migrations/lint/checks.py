"""Find the operations of revisions that break a rule.

A rule about a lock holds only for tables that the application uses: not for one that the same
revision creates, and, unless the check is strict, not for one that another pending revision
creates, or that is so small that the lock is short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oneoff.services.migrations.lint.expressions import (
    is_widened,
    not_null_column,
    selects_most_rows,
    traits_of,
)
from oneoff.services.migrations.lint.facts import Facts, TableFacts
from oneoff.services.migrations.lint.operations import Operation, read_operations
from oneoff.services.migrations.sqlite_sql import tokens

_LOCKING = frozenset(
    "add-column add-constraint alter change-type create-index detach drop-column drop-constraint "
    "rename-column rename-table rewrite-table set-not-null truncate".split()
)
_NO_LIMIT = re.compile(r"DEFAULT|0+(\.0+)?\s*(US|MS|S|MIN|H|D)?")
_CONSTRAINTS = {
    "FOREIGN": ("add-foreign-key", "NOT VALID"),
    "CHECK": ("add-check", "NOT VALID"),
    "UNIQUE": ("add-unique", "USING INDEX"),
    "PRIMARY": ("add-primary-key", "USING INDEX"),
    "EXCLUDE": ("add-exclusion", "USING INDEX"),
}
"""The rule for each kind of constraint, and the words with which it is safe."""

_NEW_COLUMN: Sequence[tuple[str, str, set[str], set[str]]] = (
    ("add-column-json", "exists", {"json"}, set()),
    ("add-column-not-null", "filled", {"not null"}, {"default", "counts", "generated"}),
    ("add-column-serial", "busy", {"counts"}, set()),
    ("add-column-generated", "busy", {"stored"}, {"counts"}),
    ("add-column-volatile-default", "busy", {"volatile"}, {"counts"}),
    ("add-unique", "busy", {"unique"}, set()),
    ("add-primary-key", "busy", {"primary"}, set()),
    ("add-check", "busy", {"check"}, set()),
    ("add-foreign-key", "busy", {"references", "default"}, set()),
)
"""For a new column: the rule, for which tables it holds, and its traits: wanted and excluded."""


@dataclass(slots=True)
class _Transaction:
    """What the current transaction of a revision has done.

    Attributes:
        open: Whether there is one.
        limited: Whether the revision has set a lock timeout.
        locked: The tables that it has locked.
    """

    open: bool = False
    limited: bool = False
    locked: list[str] = field(default_factory=list)


class Checks:
    """Checks revisions one after the other.

    Args:
        facts: What is known about the database.
        strict: Whether to ignore which tables are small, empty, or created by another revision.
        version_table: The table in which Alembic stores the revisions.
    """

    def __init__(
        self, facts: Facts, *, strict: bool = False, version_table: str = "alembic_version"
    ) -> None:
        self._facts = facts
        self._strict = strict
        self._version_table = version_table
        self._created: set[str] = set()
        self._index_tables = dict(facts.indexes)
        self._new_columns: set[tuple[str, str]] = set()
        # Columns that are not null, by table and name of the check; and by those not validated.
        self._checked: dict[tuple[str, str], str] = {}
        self._proven = {
            (table, name): column
            for table, known in facts.tables.items()
            for name, check in known.checks.items()
            if (column := not_null_column(tokens(check)))
        }
        self._transaction = _Transaction()
        self._replaced: Collection[str] = ()

    def of_revision(self, sql: str) -> Iterator[tuple[str, Operation]]:
        """Yield each rule that a revision breaks, with the operation."""
        if self._strict:
            self._created.clear()
            self._new_columns.clear()
        self._transaction = _Transaction()
        operations = [one for one in read_operations(sql) if one.table != self._version_table]
        self._replaced = {one.table for one in operations if one.kind == "create-object"}
        for operation in operations:
            check = _CHECKS.get(operation.kind)
            for rule in check(self, operation) if check else ():
                yield rule, operation
            for rule in self._locks(operation):
                yield rule, operation
            self._remember(operation)

    def facts_of(self, table: str) -> TableFacts:
        """Return what is known about a table."""
        return self._facts.tables.get(table, TableFacts())

    def _exists(self, table: str) -> bool:
        return table not in self._created

    def _filled(self, table: str) -> bool:
        return self._exists(table) and (self._strict or not self.facts_of(table).empty)

    def _busy(self, table: str) -> bool:
        return self._exists(table) and (self._strict or not self.facts_of(table).small)

    # --- what a kind of operation breaks ---------------------------------------------------------

    def _add_column(self, new: Operation) -> Iterator[str]:
        assert new.column is not None  # noqa: S101 - each operation of this kind has one
        traits = traits_of(new.column)
        used = {"exists": self._exists, "filled": self._filled, "busy": self._busy}
        for rule, scope, wanted, excluded in _NEW_COLUMN:
            if wanted <= traits and not excluded & traits and used[scope](new.table):
                yield rule

    def _add_constraint(self, new: Operation) -> Iterator[str]:
        rule, safe = _CONSTRAINTS.get(new.keys.partition(" ")[0], ("", ""))
        if rule and safe not in new.keys and self._busy(new.table):
            yield rule

    def _set_not_null(self, change: Operation) -> Iterator[str]:
        proven = {(table, column) for (table, _), column in self._proven.items()}
        if self._busy(change.table) and (change.table, change.name) not in proven:
            yield "set-not-null"

    def _change_type(self, change: Operation) -> Iterator[str]:
        before = self.facts_of(change.table).types.get(change.name, "")
        if self._busy(change.table) and not is_widened(before, change.words):
            yield "change-column-type"

    def _validate(self, done: Operation) -> Iterator[str]:
        if done.table in self._transaction.locked and self._busy(done.table):
            yield "validate-under-lock"

    def _index_or_partition(self, done: Operation) -> Iterator[str]:
        if done.concurrently:
            if self._transaction.open:
                yield "concurrently-in-transaction"
        elif done.kind == "detach":
            if self._exists(done.table):
                yield "detach-partition"
        elif self._busy(self._table_of(done)):
            yield done.kind

    def _used(self, change: Operation) -> Iterator[str]:
        """Yield the rule about something that the running code may use."""
        name = change.table or change.name
        if change.kind.endswith("column"):
            is_new = (name, change.name) in self._new_columns
        else:
            is_new = name in self._replaced
        if self._exists(name) and not is_new:
            yield change.kind

    def _truncate(self, done: Operation) -> Iterator[str]:
        if self._filled(done.table):
            yield "truncate"

    def _change_rows(self, done: Operation) -> Iterator[str]:
        if self._busy(done.table) and (
            selects_most_rows(done.words) or done.table in self._transaction.locked
        ):
            yield "backfill"

    def _rewrite(self, done: Operation) -> Iterator[str]:
        if self._busy(done.table):
            yield "rewrite-table"

    def _opaque(self, _done: Operation) -> Iterator[str]:
        yield "not-checkable"

    def _set(self, done: Operation) -> Iterator[str]:
        words = {word.strip("'").upper() for word in done.words}
        if "LOCK_TIMEOUT" in words or words == {"ALL"}:
            # After RESET and SET ... TO DEFAULT, the server decides; its own default is no limit.
            endless = len(words) == 1 or any(map(_NO_LIMIT.fullmatch, words))
            # A setting for one transaction ends with it, and there migrate has set one.
            self._transaction.limited = not (endless or words & {"LOCAL", "TRUE"})
            if endless:
                yield "lock-without-timeout"

    def _locks(self, done: Operation) -> Iterator[str]:
        """Yield the rules about locks of tables, and note the lock."""
        if done.kind not in _LOCKING or done.concurrently or not self._filled(done.table):
            return
        now = self._transaction
        if not now.open:
            if not now.limited:
                yield "lock-without-timeout"
        elif done.table not in now.locked:
            now.locked.append(done.table)
            if len(now.locked) == 2:  # noqa: PLR2004 - once for each transaction
                yield "several-locks"

    # --- what later operations need to know ------------------------------------------------------

    def _creating(self, table: str) -> tuple[str, ...]:
        """Return the kinds of operations that create a table or another object."""
        certain = ("create-table", "create-object")
        return certain if table in self._facts.tables else (*certain, "ensure-table")

    def _table_of(self, of_index: Operation) -> str:
        name = of_index.name.rpartition(".")[2]
        return of_index.table or self._index_tables.get(name, name)

    def _remember(self, done: Operation) -> None:
        now = self._transaction
        where = (done.table, done.name)
        if done.kind in ("begin", "end"):
            now.open, now.locked = done.kind == "begin", []
        elif done.kind in self._creating(done.table):
            self._created.add(done.table)
        elif done.kind == "create-index":
            self._index_tables[done.name] = done.table
        elif done.kind == "add-column":
            self._new_columns.add(where)
        elif done.kind == "add-constraint" and (column := not_null_column(done.words)):
            self._checked[where] = column
        elif done.kind == "validate" and where in self._checked:
            self._proven[where] = self._checked[where]
        elif done.kind == "drop-constraint":
            self._proven.pop(where, None)
            self._checked.pop(where, None)


_CHECKS: Mapping[str, Callable[[Checks, Operation], Iterator[str]]] = {
    kind: check
    for kinds, check in (
        ("add-column", Checks._add_column),
        ("add-constraint", Checks._add_constraint),
        ("set-not-null", Checks._set_not_null),
        ("change-type", Checks._change_type),
        ("validate", Checks._validate),
        ("create-index drop-index reindex detach", Checks._index_or_partition),
        ("drop-column drop-table drop-object", Checks._used),
        ("rename-column rename-table rename-object", Checks._used),
        ("truncate", Checks._truncate),
        ("change-rows", Checks._change_rows),
        ("rewrite-table", Checks._rewrite),
        ("opaque", Checks._opaque),
        ("set", Checks._set),
    )
    for kind in kinds.split()
}
