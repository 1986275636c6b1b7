"""Find what the SQL of a revision drops.

The SQL is read, not executed. So the answer for a statement that may do anything, such as a DO
block, is "unknown".
"""

from __future__ import annotations

import re

from oneoff.database.guards.sql_statements import mask_texts, split_statements

_DROP = re.compile(r"\bdrop\b", re.IGNORECASE)
# Statements that drop nothing unless they contain the word DROP. All others may call a function
# that drops something.
_DROPS_NOTHING = frozenset(
    "alter analyze begin cluster comment commit copy create delete end grant insert lock pragma "
    "refresh reindex release revoke rollback savepoint set start truncate update vacuum".split()
)


def describe_drops(sql: str) -> str:
    """Return the statements that drop something, those that may, or "nothing"."""
    found = [described for one in split_statements(sql) if (described := _describe(one))]
    return "; ".join(found) or "nothing"


def _describe(statement: str) -> str:
    masked = mask_texts(statement)
    text = " ".join(statement[len(masked) - len(masked.lstrip()) :].split())
    if _DROP.search(masked):
        return text
    return "" if masked.split()[0].lower() in _DROPS_NOTHING else f"unknown: {text}"
