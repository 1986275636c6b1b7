"""The driver's connection to SQLite, as `database.py` has it made."""

from __future__ import annotations

import sqlite3
from typing import Any
from weakref import WeakSet


class SQLiteConnection(sqlite3.Connection):
    """Lets go of the file when it is closed, whatever is under way.

    SQLite itself keeps its locks for as long as a statement is not finished, and a task that was
    cancelled in the middle of one refers to it until its error is forgotten: the run's own record
    could not be closed meanwhile.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()
        super().__init__(*arguments, **options)

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        """Return a cursor, which is closed with the connection."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        """Execute a statement on a new cursor; sqlite3's own short cut would not ask `cursor`."""
        return self.cursor().execute(sql, parameters)

    def close(self) -> None:
        """Finish all statements, roll back, and close."""
        for cursor in list(self._cursors):
            cursor.close()
        if self.in_transaction:
            self.set_authorizer(None)  # that of a dry run refuses a ROLLBACK which is not its own
            self.rollback()
        super().close()
