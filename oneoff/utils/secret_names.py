"""The words by which the name of a secret is recognised, and the text that replaces a secret."""

from __future__ import annotations

from oneoff.utils.possessive import repeated

MASK = "***"

# Every pattern starts with a literal, and never searches beyond the next place where it could
# start: texts may have megabytes, and the time must stay proportional to their length.
NAME = (
    r"(?:(?:(?<!com)(?<!by)pass(?:word|wd|phrase)?|(?-i:(?<=_)PWD|[pP]wd)|secret|token|"
    r"api[-_]?key|private[-_]?key|access[-_]?key|credential|authorization|signature|"
    r"(?<!ba)salt|dsn|webhook[-_]?url|"
    # Short words are the ends of other words: `spin`, `opinion`. In camelCase they start with a
    # capital letter.
    r"(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:jwt|csrf|cookie|(?:otp|pin)(?:[-_]?code)?|"
    r"(?:php|j)?sess(?:ion(?!s))?(?:[-_]?id)?)|"
    # A variable; `primary_key` is a column.
    r"(?-i:(?<=_)(?<!PUBLIC_)(?<!PRIMARY_)(?<!FOREIGN_)(?<!CACHE_)(?<!SORT_)KEY))(?P<many>s)?+)"
    # PASSWORD, DB_PASSWORD_2 and SECRET_KEY_BASE are secrets; PASSWORD_MIN_LENGTH is a number.
    + repeated(r"[_\-. ]?(?:key|base|value|hash|text|old|new|previous|next|\d++)")
)
"""The pattern of a secret's name; compile it with IGNORECASE."""
NAME_STARTS = (
    "pass", "pwd", "secret", "token", "api", "private", "access", "credential", "authorization",
    "signature", "salt", "dsn", "jwt", "csrf", "cookie", "otp", "pin", "phpsess", "jsess", "sess",
    "key",
    "webhook",
)  # fmt: skip
"""The words with which the pattern can start."""
