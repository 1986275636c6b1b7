"""Define the class of the driver's connections to SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any
from weakref import WeakSet


class SQLiteConnection(sqlite3.Connection):
    """A connection that releases its locks on the file on close, even during a statement.

    SQLite keeps its locks until all statements are finished. If a task is cancelled during a
    statement, it refers to the cursor as long as the exception exists. Until then, the run's own
    record could not be written.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*arguments, **options)

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Return a cursor that is closed with the connection."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """Execute a statement on a new cursor; sqlite3's own method would not call `cursor`."""
        return self.cursor().execute(sql, parameters)

    def close(self) -> None:
        """Finish all statements, roll back, and close."""
        # In this order: SQLite keeps the locks of a transaction while a statement is unfinished.
        for cursor in list(self._cursors):
            cursor.close()
        if self.in_transaction:
            self.set_authorizer(None)  # the guard of a dry run would refuse this ROLLBACK
            self.rollback()
        super().close()
