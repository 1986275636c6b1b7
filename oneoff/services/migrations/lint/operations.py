"""Read the SQL of a revision as operations: what each statement does to which table.

Only statements that the rules distinguish are read. Others have the kind "other".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from oneoff.database.guards.sql_statements import split_statements
from oneoff.services.migrations.sqlite_sql import ColumnSQL, split, tokens, unquote

_LONGEST = 200  # characters of a statement in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change. An ALTER TABLE with several actions is several operations.

    Attributes:
        kind: What it does: "add-column", "create-index", "begin", ...
        table: The table: "users" or "crm.users"; empty if it has none.
        name: The column, index, constraint or other object.
        words: What follows the name.
        concurrently: Whether it has the keyword CONCURRENTLY.
        column: The definition of a new column.
        sql: The statement, shortened.
    """

    kind: str
    table: str = ""
    name: str = ""
    words: list[str] = field(default_factory=list)
    concurrently: bool = False
    column: ColumnSQL | None = None
    sql: str = ""

    @property
    def keys(self) -> str:
        """The words as keywords, with one space between them."""
        return " ".join(_key(word) for word in self.words)


def read_operations(sql: str) -> Iterator[Operation]:
    """Yield the operations of a text, in order."""
    for statement in split_statements(sql):
        reader = _Reader(tokens(statement), " ".join(statement.split())[:_LONGEST])
        yield from _statement(reader)


class _Reader:
    """Reads the words of one statement from left to right."""

    def __init__(self, words: list[str], sql: str) -> None:
        self.words = words
        self.sql = sql
        self.at = 0

    def take(self, phrase: str) -> bool:
        """Go past a phrase if it comes next, and return whether it did."""
        wanted = phrase.split()
        if [_key(word) for word in self.words[self.at : self.at + len(wanted)]] != wanted:
            return False
        self.at += len(wanted)
        return True

    def skip(self, *phrases: str) -> None:
        """Go past each of the phrases that comes next."""
        for phrase in phrases:
            self.take(phrase)

    def find(self, word: str) -> bool:
        """Go past the next word of this name that is not in parentheses."""
        depth = 0
        for place in range(self.at, len(self.words)):
            depth += (self.words[place] == "(") - (self.words[place] == ")")
            if depth == 0 and _key(self.words[place]) == word:
                self.at = place + 1
                return True
        return False

    def name(self) -> str:
        """Go past a name, and return it as PostgreSQL stores it, without the schema `public`."""
        parts = [self._word()]
        while self.words[self.at : self.at + 1] == ["."]:
            self.at += 1
            parts.append(self._word())
        return ".".join(parts).removeprefix("public.")

    def names(self) -> list[str]:
        """Go past names that are separated by commas."""
        found = [self.name()]
        while self.words[self.at : self.at + 1] == [","]:
            self.at += 1
            found.append(self.name())
        return found

    @property
    def rest(self) -> list[str]:
        """The words that were not read yet."""
        return self.words[self.at :]

    def _word(self) -> str:
        word = self.words[self.at] if self.at < len(self.words) else ""
        self.at += 1
        return unquote(word) if word[:1] == '"' else word.lower()


def _key(word: str) -> str:
    return word if word[:1] in ("'", '"') else word.upper()


def _statement(reader: _Reader) -> Iterator[Operation]:
    for phrase, read in _STATEMENTS.items():
        if reader.take(phrase):
            for operation in read(reader):
                yield replace(operation, sql=reader.sql)
            return
    yield Operation(kind="other", sql=reader.sql)


def _plain(kind: str) -> Callable[[_Reader], Iterator[Operation]]:
    def read(reader: _Reader) -> Iterator[Operation]:
        yield Operation(kind=kind, words=reader.rest)

    return read


def _named(kind: str, *skipped: str) -> Callable[[_Reader], Iterator[Operation]]:
    """Read a statement whose table follows."""

    def read(reader: _Reader) -> Iterator[Operation]:
        reader.skip(*skipped)
        yield Operation(kind=kind, table=reader.name(), words=reader.rest)

    return read


def _tables(kind: str, *skipped: str) -> Callable[[_Reader], Iterator[Operation]]:
    """Read a statement with a list of tables."""

    def read(reader: _Reader) -> Iterator[Operation]:
        reader.skip(*skipped)
        for table in reader.names():
            yield Operation(kind=kind, table=table)

    return read


def _objects(kind: str, *skipped: str) -> Callable[[_Reader], Iterator[Operation]]:
    """Read a statement with a list of objects that are no tables."""

    def read(reader: _Reader) -> Iterator[Operation]:
        concurrently = reader.take("CONCURRENTLY")
        reader.skip(*skipped)
        for name in reader.names():
            yield Operation(kind=kind, name=name, concurrently=concurrently, words=reader.rest)

    return read


def _create_index(reader: _Reader) -> Iterator[Operation]:
    concurrently = reader.take("CONCURRENTLY")
    reader.skip("IF NOT EXISTS")
    name = "" if reader.take("ON") else reader.name()
    reader.skip("ON", "ONLY")
    yield Operation(
        kind="create-index",
        table=reader.name(),
        name=name,
        words=reader.rest,
        concurrently=concurrently,
    )


def _reindex(reader: _Reader) -> Iterator[Operation]:
    options = []
    if reader.words[reader.at : reader.at + 1] == ["("]:
        reader.find("(")
        options, reader.at = reader.words[: reader.words.index(")")], reader.words.index(")") + 1
    kind = next((k for k in ("TABLE", "INDEX", "SCHEMA", "DATABASE") if reader.take(k)), "")
    concurrently = reader.take("CONCURRENTLY") or "CONCURRENTLY" in map(_key, options)
    name = reader.name()
    table = name if kind == "TABLE" else ""
    words = [kind or "INDEX"]
    yield Operation(kind="reindex", table=table, name=name, words=words, concurrently=concurrently)


def _refresh(reader: _Reader) -> Iterator[Operation]:
    if not reader.take("CONCURRENTLY"):
        yield Operation(kind="rewrite-table", table=reader.name())


def _vacuum(reader: _Reader) -> Iterator[Operation]:
    keys = [_key(word) for word in reader.rest]
    if "FULL" in keys:
        reader.at = len(reader.words) - 1
        yield Operation(kind="rewrite-table", table=reader.name())


def _trigger(reader: _Reader) -> Iterator[Operation]:
    if reader.find("ON"):
        yield Operation(kind="alter", table=reader.name())


def _change_rows(reader: _Reader) -> Iterator[Operation]:
    reader.skip("ONLY")
    table = reader.name()
    yield Operation(
        kind="change-rows", table=table, words=reader.rest if reader.find("WHERE") else []
    )


def _with(reader: _Reader) -> Iterator[Operation]:
    if {"INSERT", "UPDATE", "DELETE", "MERGE"} & {*map(_key, reader.rest)}:
        yield Operation(kind="opaque")


def _rename_object(reader: _Reader) -> Iterator[Operation]:
    reader.skip("IF EXISTS")
    name = reader.name()
    if reader.find("RENAME") or (reader.find("SET") and reader.take("SCHEMA")):
        yield Operation(kind="rename-object", name=name)


def _alter_type(reader: _Reader) -> Iterator[Operation]:
    before = reader.at
    name = reader.name()
    for part in split(reader.rest):
        action = _Reader(part, reader.sql)
        if action.take("DROP ATTRIBUTE"):
            action.skip("IF EXISTS")
            yield Operation(kind="drop-object", name=f"{name}.{action.name()}")
        elif action.take("ALTER ATTRIBUTE"):
            yield Operation(kind="rename-object", name=f"{name}.{action.name()}")
    reader.at = before
    yield from _rename_object(reader)


def _alter_domain(reader: _Reader) -> Iterator[Operation]:
    before = reader.at
    name = reader.name()
    if reader.take("ADD"):
        if reader.take("CONSTRAINT"):
            name = reader.name()
        yield Operation(kind="add-constraint", name=name, words=reader.rest)
        return
    reader.at = before
    yield from _rename_object(reader)


def _alter_table(reader: _Reader) -> Iterator[Operation]:
    reader.skip("IF EXISTS", "ONLY")
    table = reader.name()
    reader.skip("*")
    actions = [_action(_Reader(part, reader.sql), table) for part in split(reader.rest)]
    # PostgreSQL drops constraints before the other actions of the statement.
    yield from sorted(actions, key=lambda one: one.kind != "drop-constraint")


def _action(reader: _Reader, table: str) -> Operation:
    for phrase, read in _ACTIONS.items():
        if reader.take(phrase):
            return read(reader, table)
    return Operation(kind="alter", table=table, words=reader.rest)


def _add(reader: _Reader, table: str) -> Operation:
    is_constraint = any(
        _key(word) in ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE")
        for word in reader.rest[:1]
    )
    if is_constraint:
        name = reader.name() if reader.take("CONSTRAINT") else ""
        return Operation(kind="add-constraint", table=table, name=name, words=reader.rest)
    reader.skip("COLUMN", "IF NOT EXISTS")
    column = ColumnSQL.parse(reader.rest)
    return Operation(kind="add-column", table=table, name=reader.name(), column=column)


def _alter_column(reader: _Reader, table: str) -> Operation:
    if reader.take("CONSTRAINT"):
        return Operation(kind="alter", table=table)
    reader.skip("COLUMN")
    name = reader.name()
    if reader.take("SET NOT NULL"):
        return Operation(kind="set-not-null", table=table, name=name)
    if reader.take("TYPE") or reader.take("SET DATA TYPE"):
        return Operation(kind="change-type", table=table, name=name, words=reader.rest)
    return Operation(kind="alter", table=table, name=name)


def _drop(reader: _Reader, table: str) -> Operation:
    if reader.take("CONSTRAINT"):
        reader.skip("IF EXISTS")
        return Operation(kind="drop-constraint", table=table, name=reader.name())
    reader.skip("COLUMN", "IF EXISTS")
    return Operation(kind="drop-column", table=table, name=reader.name())


def _rename(reader: _Reader, table: str) -> Operation:
    if reader.take("CONSTRAINT"):
        return Operation(kind="alter", table=table)
    if reader.take("TO"):
        return Operation(kind="rename-table", table=table, name=reader.name())
    reader.skip("COLUMN")
    name = reader.name()
    reader.take("TO")
    return Operation(kind="rename-column", table=table, name=name, words=reader.rest)


def _set(reader: _Reader, table: str) -> Operation:
    if reader.take("SCHEMA"):
        return Operation(kind="rename-table", table=table, name=f"{reader.name()}.{table}")
    rewrites = any(map(reader.take, ("LOGGED", "UNLOGGED", "TABLESPACE", "ACCESS METHOD")))
    return Operation(kind="rewrite-table" if rewrites else "alter", table=table)


def _validate(reader: _Reader, table: str) -> Operation:
    return Operation(kind="validate", table=table, name=reader.name())


def _detach(reader: _Reader, table: str) -> Operation:
    name = reader.name()
    concurrently = reader.take("CONCURRENTLY")
    kind = "alter" if reader.take("FINALIZE") else "detach"
    return Operation(kind=kind, table=table, name=name, concurrently=concurrently)


_ACTIONS: dict[str, Callable[[_Reader, str], Operation]] = {
    "ADD": _add,
    "ALTER": _alter_column,
    "DROP": _drop,
    "RENAME": _rename,
    "SET": _set,
    "VALIDATE CONSTRAINT": _validate,
    "DETACH PARTITION": _detach,
}
_OBJECTS = (
    "MATERIALIZED VIEW, VIEW, SEQUENCE, TYPE, FUNCTION, PROCEDURE, ROUTINE, AGGREGATE, SCHEMA, "
    "DOMAIN, EXTENSION, DATABASE"
).split(", ")
# The first phrase that matches decides.
_STATEMENTS: dict[str, Callable[[_Reader], Iterator[Operation]]] = {
    "BEGIN": _plain("begin"),
    "START TRANSACTION": _plain("begin"),
    "COMMIT": _plain("end"),
    "END": _plain("end"),
    "ROLLBACK": _plain("end"),
    "SET": _plain("set"),
    "RESET": _plain("set"),
    "DO": _plain("opaque"),
    "CALL": _plain("opaque"),
    "SELECT SET_CONFIG": _plain("set"),
    "CREATE TABLE IF NOT EXISTS": _named("ensure-table"),
    "CREATE TABLE": _named("create-table"),
    "CREATE UNLOGGED TABLE": _named("create-table", "IF NOT EXISTS"),
    **{
        f"CREATE {kind} TABLE": _named("create-table", "IF NOT EXISTS")
        for kind in ("TEMPORARY", "TEMP")
    },
    "CREATE MATERIALIZED VIEW": _named("create-table", "IF NOT EXISTS"),
    "CREATE UNIQUE INDEX": _create_index,
    "CREATE INDEX": _create_index,
    "CREATE TRIGGER": _trigger,
    **{
        f"CREATE {prefix}{kind}": _named("create-object", "IF NOT EXISTS")
        for kind in _OBJECTS
        for prefix in ("", "OR REPLACE ")
    },
    "ALTER TABLE": _alter_table,
    **{f"ALTER {kind}": _rename_object for kind in _OBJECTS},
    "ALTER DOMAIN": _alter_domain,
    "ALTER TYPE": _alter_type,
    "DROP TABLE": _tables("drop-table", "IF EXISTS"),
    "DROP FOREIGN TABLE": _tables("drop-table", "IF EXISTS"),
    "DROP INDEX": _objects("drop-index", "IF EXISTS"),
    **{f"DROP {kind}": _objects("drop-object", "IF EXISTS") for kind in _OBJECTS},
    "DROP TRIGGER": _trigger,
    "TRUNCATE": _tables("truncate", "TABLE", "ONLY"),
    "LOCK": _tables("alter", "TABLE", "ONLY"),
    "WITH": _with,
    "MERGE": _plain("opaque"),
    "DROP OWNED": _plain("opaque"),
    "UPDATE": _change_rows,
    "DELETE FROM": _change_rows,
    "REINDEX": _reindex,
    "CLUSTER": _named("rewrite-table", "VERBOSE"),
    "REFRESH MATERIALIZED VIEW": _refresh,
    "VACUUM": _vacuum,
}
