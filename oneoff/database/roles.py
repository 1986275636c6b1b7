"""Say what a connection is for, and what it may do in a dry run or a read-only run."""

from __future__ import annotations

WORK = "work"
"""The role of a run's own work; see `Database.connect`."""
OWN_ROLES = frozenset({"audit", "lock", "schema"})
"""The roles of the framework's own records, which it writes in every mode."""
EXEMPT = "oneoff_exempt"
"""In a connection's `info`: not to be made read-only by `oneoff.database.guards.other_engines`."""


class Opening:
    """The purpose of a connection that is being opened; the drivers' hooks read it.

    Attributes:
        role: Shown as the second part of `application_name`.
        guarded: Whether a guard keeps its transaction (`oneoff.database.guards`): True for the work
            of a dry run or of a read-only run, False for that of a real run. None for every other
            connection; only then the role decides, because the role of work may be a lock's name.
        prepares: Whether PostgreSQL shall keep its statements prepared.
    """

    __slots__ = ("guarded", "prepares", "role")

    def __init__(self, role: str, *, guarded: bool | None = None, prepares: bool = False) -> None:
        self.role = role
        self.guarded = guarded
        self.prepares = prepares

    @property
    def exempt(self) -> bool:
        """Whether other engines' protection ignores it: it is guarded, or the framework's own."""
        return self.role in OWN_ROLES if self.guarded is None else self.guarded
