"""The roles of connections. They decide what a connection may do in a dry or read-only run."""

from __future__ import annotations

from typing import NamedTuple

WORK = "work"
"""The role of a run's work; see `Database.connect`."""
OWN_ROLES = frozenset({"audit", "lock", "schema"})
"""The roles of the framework's own connections, which may write in every mode."""
EXEMPT = "oneoff_exempt"
"""Key in the `info` of a connection that `oneoff.database.guards.other_engines` ignores."""


_LONGEST_KEY = 24  # of the 63 bytes of an application_name; the run id and the slashes take 34


def lock_role(key: str) -> str:
    """Return the role of the work that a lock protects: "lock:migrations".

    It is never one of `OWN_ROLES`. In application_name, the server cuts off long texts and replaces
    some characters; a key that it would change is hashed, so that the role can be found there.
    """
    if len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable() and "/" not in key:
        return f"lock:{key}"
    from hashlib import blake2b

    return f"lock:{blake2b(key.encode(), digest_size=_LONGEST_KEY // 2).hexdigest()}"


class Opening(NamedTuple):
    """The purpose of a connection that is being opened; the hooks of the engine read it.

    Attributes:
        role: The second part of `application_name`.
        guarded: Whether a guard protects its transaction (`oneoff.database.guards`): True for the
            work of a dry run or a read-only run, False for the work of other runs. None for all
            other connections. Only then does the role decide whether the connection is exempt.
        prepares: Whether PostgreSQL keeps its statements prepared.
        reads_facts: Whether `read_facts` is called on it next, which asks for the default schema.
    """

    role: str
    guarded: bool | None = None
    prepares: bool = False
    reads_facts: bool = False

    @property
    def exempt(self) -> bool:
        """Whether `other_engines` ignores it: it has a guard, or belongs to the framework."""
        return self.role in OWN_ROLES if self.guarded is None else self.guarded
