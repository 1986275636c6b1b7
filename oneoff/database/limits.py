"""Limit how long PostgreSQL lets a statement take, wait for a lock, or leave its transaction idle.

A command declares the limits, and its options replace them. They are settings of each transaction,
sent in the message that begins it. So they cost no round trip, and hold behind a pooler too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import UsageError

if TYPE_CHECKING:
    from oneoff.core.command import BaseCommand
    from oneoff.core.options import GlobalOptions

_SETTINGS = {
    "statement_timeout": "statement_timeout",
    "lock_timeout": "lock_timeout",
    "idle_timeout": "idle_in_transaction_session_timeout",
}
"""The settings of PostgreSQL by the names of the limits."""
_LONGEST = (2**31 - 1) // 1000  # seconds; PostgreSQL stores milliseconds in an int


class Limits(NamedTuple):
    """Limits in seconds. 0 is no limit, and None leaves the setting as the server has it.

    Attributes:
        statement_timeout: For one statement.
        lock_timeout: For one wait for a lock.
        idle_timeout: For the time between two statements of a transaction.
    """

    statement_timeout: float | None = None
    lock_timeout: float | None = None
    idle_timeout: float | None = None

    def over(self, others: Limits) -> Limits:
        """Return these limits, and the others where there is none."""
        return Limits(*(b if a is None else a for a, b in zip(self, others, strict=True)))

    def as_sql(self) -> str:
        """Return the statements that set the limits for a transaction; each ends with `;`."""
        # 0 would be no limit, so a part of a millisecond is a whole one.
        return "".join(
            f"SET LOCAL {_SETTINGS[name]} = {-int(-seconds * 1000 // 1)};"
            for name, seconds in self._asdict().items()
            if seconds is not None
        )


NO_LIMITS = Limits()


def declared_limits(command: BaseCommand | type[BaseCommand]) -> Limits:
    """Return the limits that a command declares."""
    return Limits(*(getattr(command, name) for name in Limits._fields))


def limits_of(command: BaseCommand, options: GlobalOptions, dialect: str) -> Limits:
    """Return the limits of a run.

    Raises:
        UsageError: An option has no effect on this database, or a limit is too long.
    """
    given = {
        name: seconds for name in Limits._fields if (seconds := getattr(options, name)) is not None
    }
    spelled = {name: "--" + name.replace("_", "-") for name in given}
    if given and dialect != "postgresql":
        raise UsageError(
            [f"{option} has no effect on {dialect}" for option in spelled.values()],
            try_="leave it out: only PostgreSQL has these limits",
        )
    if long := [spelled[name] for name, seconds in given.items() if seconds > _LONGEST]:
        raise UsageError([f"{option} is longer than {_LONGEST} s" for option in long])
    return declared_limits(command)._replace(**given)
