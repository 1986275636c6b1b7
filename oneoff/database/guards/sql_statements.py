"""Read SQL text for PostgreSQL: its statements, and those that would end the transaction.

The text is read as the server's scanner reads it. Otherwise a text that only resembles a quote, a
comment or a dollar quote could hide a COMMIT.
"""

from __future__ import annotations

import re
from functools import cache

CURSOR = "oneoff_dry_run"
"""Name of the cursor that prevents a commit of the transaction of a dry run."""

READ_ONLY = "SET TRANSACTION READ ONLY"
# After the first query, the server refuses SET TRANSACTION READ WRITE.
ANY_QUERY = "SELECT 1"

# Most texts contain none of these words, and need no scan.
_SUSPECT = re.compile(
    r"\b(?:commit|rollback|abort|end|prepare\s+transaction|close)\b", re.IGNORECASE
)
_CONTROL = re.compile(r"(?i)\s*(?:begin|start|commit|end|rollback|abort)\b[\w\s]*;?\s*")
_STARTS = re.compile(r"(?is)\s*(?:begin|start)\b|.*\bchain\b")
_ENDS = (
    r"(?i)\s*(?P<how>commit|abort|end|prepare\s+transaction"
    r"|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b"
)
_CLOSES = rf"(?i)\s*(?P<how>close\s+(?:all\b|\"?{CURSOR}\b|u&\"))"
_FUNCTION_BODY = r"(?is)\s*create\b.*\b(?:function|procedure)\b.*\bbegin\s+atomic\b"

# What decides where a statement ends. A semicolon does not end it in parentheses, as in CREATE RULE
# (...; ...), or in the body of a routine or of a SQLite trigger.
_MARK = re.compile(r"[;()]|\b(?:begin|case|end)\b", re.IGNORECASE)
_HAS_BODY = re.compile(r"(?is)\s*create\b[^;]*\b(?:function|procedure|trigger)\b")

_LETTER = "A-Za-z_\u0080-\U0010ffff"
_SPACE = r"(?:\s|--[^\r\n]*)*"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_PLAIN = "'(?:[^']|'')*'"


def ending_statement(sql: str) -> str:
    """Return the first statement in `sql` that would end the transaction, or an empty text.

    One text may contain several statements, because the simple query protocol allows it.
    """
    return _first(sql, _ENDS)


def cursor_closing_statement(sql: str) -> str:
    """Return the first statement in `sql` that would close the guard's cursor, or an empty text."""
    return _first(sql, _CLOSES)


def split_statements(sql: str) -> list[str]:
    """Return the statements of a text, without the semicolons that end them."""
    masked, ends, start, depth, blocks = mask_texts(sql), [], 0, 0, 0
    for mark in _MARK.finditer(masked):
        word = mark[0].lower()
        if word == "(":
            depth += 1
        elif word == ")":
            depth = max(depth - 1, 0)
        elif word == "begin":
            blocks += bool(_HAS_BODY.match(masked, start))
        elif word == "case":
            blocks += bool(blocks)
        elif word == "end":
            blocks = max(blocks - 1, 0)
        elif not depth and not blocks:
            ends.append((start, mark.start()))
            start = mark.end()
    ends.append((start, len(sql)))
    return [sql[first:last].strip() for first, last in ends if masked[first:last].strip()]


def mask_texts(sql: str) -> str:
    """Replace comments, string literals and quoted names by spaces, one for each character."""
    return re.sub(r'"[^"]*"', lambda name: " " * len(name[0]), _without_texts(sql, _PLAIN))


def is_only_control(sql: str) -> bool:
    """Return whether `sql` is a single statement that begins or ends a transaction."""
    return _CONTROL.fullmatch(sql) is not None and not re.search(r"(?i)\bto\b", sql)


def starts_transaction(sql: str) -> bool:
    """Return whether `sql`, which begins or ends a transaction, may start one."""
    return _STARTS.match(sql) is not None


def _first(sql: str, pattern: str) -> str:
    if not _SUSPECT.search(sql):
        return ""
    # With standard_conforming_strings off, a backslash escapes a quote in every string literal. The
    # setting is not known here, so such a text is read both ways.
    readings = (_PLAIN, _ESCAPED) if "\\'" in sql else (_PLAIN,)
    return next(filter(None, (_first_as_read(sql, pattern, text) for text in readings)), "")


def _first_as_read(sql: str, pattern: str, text: str) -> str:
    bodies = 0
    for statement in _without_texts(sql, text).split(";"):
        bodies += bool(re.match(_FUNCTION_BODY, statement))
        found = re.match(pattern, statement)
        if found and found["how"].lower() == "end" and bodies:
            bodies -= 1  # END also ends the body of a function in standard SQL
        elif found:
            return " ".join(found["how"].upper().split())
    return ""


def _without_texts(sql: str, text: str) -> str:
    """Replace string literals and comments by spaces of the same length; keep quoted names."""
    kept, at = [], 0
    while found := _opaque(text).search(sql, at):
        start, before = found.start(), sql[at : found.start()]
        at = _comment_end(sql, start) if found.lastgroup == "comment" else found.end()
        name = found[0].replace(";", " ") if found.lastgroup == "name" else " " * (at - start)
        kept += [before, name]
    return "".join([*kept, sql[at:]])


def _comment_end(sql: str, start: int) -> int:
    """Return where a comment ends; PostgreSQL's comments nest."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


@cache
def _opaque(text: str) -> re.Pattern[str]:
    # The order matters: E'' before the name E, and a name before a dollar sign inside it.
    return re.compile(
        rf"[eE]{_ESCAPED}(?:{_SPACE}{_ESCAPED})*"
        rf"|(?P<name>\"[^\"]*\"|[{_LETTER}][{_LETTER}0-9$]*)"
        rf"|(?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$).*?(?P=dollar)"
        rf"|{text}|--[^\r\n]*|(?P<comment>/\*)",
        re.DOTALL,
    )
