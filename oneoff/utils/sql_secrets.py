"""Mask secrets in SQL, and in what database servers and drivers quote in their messages.

SQL has its own ways to write a secret: `PASSWORD 'x'` has no "=", a column's name is far from its
value in an INSERT, and quotes are doubled or replaced by dollars.
"""

from __future__ import annotations

import re

from oneoff.utils.anchored import occurs, substitute
from oneoff.utils.possessive import repeated
from oneoff.utils.secret_names import MASK, NAME, NAME_STARTS

# As in `secret_names`, the time of every pattern is proportional to the text's length.
_SHELL_QUOTED = repeated(r"(?!'\"'\"').")
_ESCAPED = repeated(r"[^'\\]|\\.|''")
_QUOTED = repeated(r"[^']|''")
_IN_DOLLARS = repeated(r"(?!\$(?P=tag)\$).")
_LITERAL = (
    rf"(?:'\"'\"'{_SHELL_QUOTED}(?:'\"'\"'|\Z)"  # as a shell quotes it
    rf"|\b[eE]\\?'{_ESCAPED}(?:'|\Z)"
    rf"|\\?'{_QUOTED}'|\\?'[^\n]*+"  # without its end up to the end of the line
    rf"|\$(?P<tag>[A-Za-z_]?\w{{0,62}})\${_IN_DOLLARS}(?:\$(?P=tag)\$|\Z))"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_ONE_LITERAL = re.compile(_LITERAL, _FLAGS)
_STATEMENT = re.compile(
    r"\b(?:(?:insert|replace|merge)\s+into|delete\s+from|update\s+[\w.\"]{1,130}\s+set|select|"
    r"values\s*+\(|(?:create|alter)\s+(?:role|user|group|login|server|subscription|system|secret)|"
    r"set\s+(?:(?:local|session)\s+)?[\w.]{1,130}\s*+(?:=|to\s))"
    # Up to the end of the statement, or of the text that quotes it.
    # The first two alternatives match nothing that the others would not; they are fast.
    + repeated(rf"[^;\n\]'$\\eE]++|[eE](?!\\?')|{_LITERAL}|(?!\n\s*+\n|\]\s*+(?:\n|\Z))[^;]"),
    _FLAGS,
)
_STATEMENT_STARTS = (
    "insert", "replace", "merge", "delete", "update", "select", "values", "create", "alter", "set",
)  # fmt: skip
_NAMES_SECRET = re.compile(
    rf"{NAME}(?!\w)|\b(?:crypt|digest|hmac|pgp_(?:sym|pub)_\w{{1,40}}|identified\s+(?:by|with))\b",
    re.IGNORECASE,
)
_NAMES_SECRET_STARTS = (*NAME_STARTS, "crypt", "digest", "hmac", "pgp_", "identified")
_BETWEEN = repeated(r"(?:to|is|as|with|like|in|for|value)\s++|[(=<>!~]++\s*+")
_NAMED = re.compile(
    rf"(?P<head>{NAME}[\"`\]]?\s++{_BETWEEN})"
    rf"{_LITERAL}",
    _FLAGS,
)
_IDENTIFIED = re.compile(
    r"(?P<head>\bidentified\s+(?:with\s+\S{1,130}\s+)?(?:by|as)\s+(?:password\s+)?)"
    rf"(?:{_LITERAL}|\\?\"[^\"\n]*+\"?)",
    _FLAGS,
)
_IDENTIFIED_BARE = re.compile(r"(?P<head>\bidentified\s+by\s+)[\w#$]++", re.IGNORECASE)
# The words before the row depend on the server's language. "(names)=(values)" is a key.
_ROW = re.compile(
    r"(?P<head>Failing row contains |"
    r"DETAIL:\s{1,4}[^()\n]{1,200} (?!\([^\n]{0,2100}?\)=\())\((?!\*\*\*\))"
    r".*?(?:\)\.?(?=\n|\\n|$)|\Z)",
    re.DOTALL,
)
_KEY = re.compile(r"(?P<head>\)=)\((?!\*\*\*\)).*?(?:\)(?=[^()\n]*(?:\n|\\n|$))|\Z)", re.DOTALL)
_LONGEST_KEY = 2_100  # 32 columns of 63 characters, the limits of PostgreSQL
_COPIED_LINE = re.compile(r"(?P<head>\bCOPY [^\n,]{1,200}, [^\n:\"]{1,60}: )\"(?!\*\*\*\")[^\n]*+")
_ARGUMENT = re.compile(
    r"(?P<head>\bquery argument \$\d{1,9}(?: in element #\d{1,19} of [^\n:]{1,60})?: )"
    r"(?!\*\*\*)(?:[^\n]*(?= \()|[^\n]*+)"
)
_PARAMETERS = re.compile(r"(?P<head>\[parameters: )(?!\*\*\*)(?:[^\n]*(?=\])|[^\n]*+)")
_QUOTED_BY_SERVERS = (
    (_IDENTIFIED, ("identified",)),
    (_ROW, ("failing row", "detail:")),
    (_COPIED_LINE, ("copy ",)),
    (_ARGUMENT, ("query argument",)),
    (_PARAMETERS, ("[parameters",)),
)


def mask(text: str) -> str:
    """Return the text with the secrets masked that are in its SQL, or quoted by a database."""
    text = substitute(_STATEMENT, _mask_statement, text, _STATEMENT_STARTS)
    text = substitute(_NAMED, _mask_after_head, text, NAME_STARTS)
    for pattern, start in _QUOTED_BY_SERVERS:
        text = substitute(pattern, _mask_after_head, text, start)
    return _KEY.sub(_mask_key, text)


def _mask_statement(match: re.Match[str]) -> str:
    """Mask all values of a statement that names a secret: any of them may be its value."""
    statement = match[0]
    if not occurs(_NAMES_SECRET, statement, _NAMES_SECRET_STARTS):
        return statement
    statement = _IDENTIFIED_BARE.sub(rf"\g<head>{MASK}", statement)
    return _ONE_LITERAL.sub(lambda found: _masked(found[0]), statement)


def _mask_after_head(match: re.Match[str]) -> str:
    return match["head"] + _masked(match[0].removeprefix(match["head"]))


def _mask_key(match: re.Match[str]) -> str:
    """Mask the values of a key, as in `Key (user_id, token)=(7, abc) already exists`."""
    before = match.string[max(0, match.start() - _LONGEST_KEY) : match.start()]
    names = before.rpartition("\n")[2]
    names_secret = occurs(_NAMES_SECRET, names, _NAMES_SECRET_STARTS)
    return _mask_after_head(match) if names_secret else match[0]


def _masked(value: str) -> str:
    """Return the mask in the quotes or parentheses of the value."""
    quotes = _QUOTES.match(value)
    return f"{quotes[1]}{MASK}{_CLOSING.get(quotes[1], quotes[1])}" if quotes else MASK


_QUOTES = re.compile(r"""[eE]?('"'"'|\\?["']|\$\w*\$|\()""")
_CLOSING = {"(": ")"}
