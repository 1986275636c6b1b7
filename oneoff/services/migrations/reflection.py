"""Let SQLAlchemy and Alembic read the tables of PostgreSQL with few round trips.

SQLAlchemy sends about fifteen queries, one after the other, and each takes two round trips. Most of
them don't depend on each other. So a function that sends queries is first given no rows, which
shows what it asks. These queries are sent as one statement, and the function is called again with
their rows. This is repeated until it asks nothing new.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import BigInteger, Text, cast, column, func, select, text
from sqlalchemy.dialects.postgresql import OID
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.visitors import cloned_traverse

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Connection, Result, Select, TextualSelect

    Query = Select[Any] | TextualSelect

T = TypeVar("T")

MOST = 1_000
"""Tables that are asked for in one statement. It may have 32,767 parameters, several for each."""

_MULTI = [name for name in vars(PGDialect) if name.startswith("get_multi_")]


def query_of(columns: Iterable[str], sql: str) -> TextualSelect:
    """Return a query of `Reader`.

    Args:
        columns: The names of its columns.
        sql: Its text, without parameters.
    """
    return text(sql).columns(*map(column, columns))


_OF_SEQUENCES = query_of(
    ("attname", "value"),
    """
SELECT attname, 'nextval(' || quote_literal(s.oid::regclass) || '\\:\\:regclass)' AS value
FROM pg_depend JOIN pg_class s ON s.oid = objid AND s.relkind = 'S'
JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
""",
)
"""The columns that own a sequence, with the default that takes values from it."""


class Reader:
    """Takes the place of a connection in functions that read. It sends their queries together.

    Args:
        connection: The connection.
        expected: Queries whose rows will be needed; they are sent with the first other ones.
    """

    def __init__(self, connection: Connection, *expected: Query) -> None:
        self.dialect = connection.dialect
        self._connection = connection
        self._asked: list[tuple[Query, Any]] = [(one, None) for one in expected]
        self._answers: list[list[Any]] = []  # of the first of these queries

    def rows(self, query: Query) -> list[Any]:
        """Return the rows of a query."""
        return list(self.complete(lambda: self.execute(query)))

    def complete(self, read: Callable[[], T]) -> T:
        """Call a function with the rows of more and more queries; return its last result."""
        while True:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = read()
            if not self._send():
                break
        for one in caught:
            warnings.warn(one.message, stacklevel=2)
        return found

    @contextmanager
    def guessing(self) -> Iterator[None]:
        """Ignore an error of the block if there are queries without rows, which may cause it."""
        try:
            yield
        except Exception:
            if len(self._asked) == len(self._answers):
                raise

    def execute(self, query: Query, parameters: Any = None) -> Result[Any]:
        """Return the rows of a query; none if it was not sent yet."""
        place = self._place_of(query, parameters)
        rows = self._answers[place] if place < len(self._answers) else []
        keys = SimpleResultMetaData([str(one.key) for one in query.selected_columns])
        return IteratorResult(keys, map(tuple, rows))

    def scalars(self, query: Query, parameters: Any = None) -> Any:
        """Return the first values of the rows."""
        return self.execute(query, parameters).scalars()

    def scalar(self, query: Query, parameters: Any = None) -> Any:
        """Return the first value of the first row; raise an error if it is not known yet."""
        if self._place_of(query, parameters) >= len(self._answers):
            raise LookupError  # None could be stored for later
        return self.execute(query, parameters).scalar()

    def _place_of(self, query: Query, parameters: Any) -> int:
        for place, (other, given) in enumerate(self._asked):
            if given == parameters and (other is query or other.compare(query)):
                return place
        self._asked.append((query, parameters))
        return len(self._asked) - 1

    def _send(self) -> bool:
        """Send the queries that were not sent yet; return whether there were any."""
        new = self._asked[len(self._answers) :]
        most = max((len(one) for _, given in new for one in (given or {}).values()), default=0)
        size = len(new) if most <= MOST else 1
        for first in range(0, len(new), size or 1):
            part = enumerate(new[first : first + size])
            texts = select(*(_as_json(_with_values(*one, number)) for number, one in part))
            rows = self._connection.execute(texts).one()
            self._answers += [json.loads(one or "[]") for one in rows]
        return bool(new)


def _with_values(query: Query, parameters: Any, number: int) -> Query:
    """Return the query with its parameters, whose names are not those of another query."""

    def give(parameter: BindParameter[Any]) -> None:
        if parameters and parameter.key in parameters:
            parameter.value, parameter.required = parameters[parameter.key], False
            parameter.key = f"{parameter.key}_{number}"

    options = {"maintain_key": True, "detect_subquery_cols": True}
    return cloned_traverse(query, options, {"bindparam": give})


def _as_json(query: Query) -> Any:
    """Return an expression for all rows of a query."""
    rows = query.subquery()
    # JSON would have an OID as text.
    values = (cast(one, BigInteger) if isinstance(one.type, OID) else one for one in rows.c)
    array = func.json_agg(func.json_build_array(*values))
    return cast(select(array).select_from(rows).scalar_subquery(), Text)


@contextmanager
def reading_together(reader: Reader) -> Iterator[None]:
    """Within the block, let SQLAlchemy read tables with `reader`, on PostgreSQL."""
    dialect: Any = reader.dialect
    known: dict[str, dict[str, Any]] = {}

    def table_names(_: Connection, schema: str | None = None, **_kw: Any) -> Any:
        connection: Any = reader  # has what SQLAlchemy uses of a connection
        read = partial(PGDialect.get_table_names, dialect, connection, schema=schema)
        return reader.complete(lambda: read(info_cache={}))

    def multi(name: str, _: Connection, **asked: Any) -> Any:
        asked.pop("info_cache", None)  # it would keep results without rows
        key = repr(sorted(asked.items()))
        if name not in known.setdefault(key, {}):
            known[key] = reader.complete(partial(_read_all, reader, asked))
        return known[key].pop(name)

    replaced = {name: partial(multi, name) for name in _MULTI} | {"get_table_names": table_names}
    if dialect.name == "postgresql":
        vars(dialect).update(replaced)
    try:
        yield
    finally:
        for name in replaced:
            vars(dialect).pop(name, None)


def _read_all(reader: Reader, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what each method of the dialect returns about some tables."""
    found: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for name in _MULTI:
        with reader.guessing():
            read = getattr(PGDialect, name)
            found[name] = list(read(reader.dialect, reader, info_cache=kept, **asked))
    # Alembic ignores these defaults, and would send a query for each.
    of_sequences = {tuple(row) for row in reader.execute(_OF_SEQUENCES)}
    for _, columns in found.get("get_multi_columns", ()):
        for one in columns:
            if (one["name"], one["default"]) in of_sequences:
                one["default"] = None
    return found
