"""Keep the colons of SQL texts that come from a database or go into a revision.

SQLAlchemy's `text()` takes ":name" for a parameter, in a string literal too. A parameter without
value becomes NULL, so a default such as '{"mail":true}' would be changed without notice.
"""

from __future__ import annotations

import re

from sqlalchemy import TextClause, text

# As in SQLAlchemy's TextClause and SQLCompiler: what becomes a parameter, and what loses a
# backslash.
_PARAMETER = re.compile(r"(?<![:\w\\])(?=:\w+(?![:\w]))")
_ESCAPED = re.compile(r"(?=\\:\w*(?![:\w]))")


def escape(sql: str) -> str:
    """Return SQL with backslashes, so that `text()` gives exactly this SQL."""
    return _PARAMETER.sub(r"\\", _ESCAPED.sub(r"\\", sql))


def without_parameters(clause: TextClause) -> TextClause:
    """Return a clause in which colons are only text, unless its parameters have values."""
    if any(parameter.value is not None for parameter in clause._bindparams.values()):
        return clause
    return text(_PARAMETER.sub(r"\\", clause.text))
