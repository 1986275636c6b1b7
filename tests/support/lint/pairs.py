"""Unsafe revisions and their safe forms, for each check that `db lint` covers.

A revision is a piece of `upgrade()`. The safe form may need several revisions, one after the other.
The tables `users`, `orders`, `teams`, `logs` and `totals` exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OUTSIDE = "with op.get_context().autocommit_block():\n    "


class Pair(NamedTuple):
    """A check that others document, with an example.

    Attributes:
        check: Its name or title on docs/reference/migration-lint.md.
        rule: The rule that finds it.
        unsafe: A revision that breaks it.
        safe: Revisions that do the same safely.
    """

    check: str
    rule: str
    unsafe: str
    safe: Iterable[str]


def sql(*statements: str) -> str:
    """Return a revision that runs statements."""
    return "\n".join(f"op.execute({one!r})" for one in statements)


def outside(*statements: str) -> str:
    """Return a revision that runs statements outside of its transaction."""
    return OUTSIDE + sql(*statements).replace("\n", "\n    ")


NOT_NULL = (
    'op.create_check_constraint("n", "users", "email IS NOT NULL", postgresql_not_valid=True)',
    sql("ALTER TABLE users VALIDATE CONSTRAINT n"),
    'op.alter_column("users", "email", nullable=False)\nop.drop_constraint("n", "users")',
)
CHECK = (
    'op.create_check_constraint("c", "users", "age > 0", postgresql_not_valid=True)',
    sql("ALTER TABLE users VALIDATE CONSTRAINT c"),
)
KEY = (
    'op.create_foreign_key("f", "orders", "users", ["user_id"], ["id"], postgresql_not_valid=True)',
    sql("ALTER TABLE orders VALIDATE CONSTRAINT f"),
)
INDEX = (OUTSIDE + 'op.create_index("i", "users", ["email"], postgresql_concurrently=True)',)
COLUMN = ('op.add_column("users", sa.Column("x", sa.Text()))',)
COPY = ('op.add_column("users", sa.Column("new", sa.BigInteger()))',)
UNIQUE = (
    OUTSIDE + 'op.create_index("u", "users", ["email"], unique=True, postgresql_concurrently=True)',
    sql("ALTER TABLE users ADD CONSTRAINT u UNIQUE USING INDEX u"),
)
NEW_TABLE = ('op.create_table("new", sa.Column("id", sa.BigInteger(), primary_key=True))',)
RENAMED = (
    'op.rename_table("users", "people")\n' + sql("CREATE VIEW users AS SELECT * FROM people"),
)
FILTERED = (sql("UPDATE users SET active = false WHERE id = 7"),)
