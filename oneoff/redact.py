"""Keep secrets out of everything that is printed, logged or recorded.

Two nets: values known to be secret (a password just read, the variables of the environment that
are named like secrets, the password inside a URL), and texts that look like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "***"
NOT_SECRETS = frozenset({"PWD", "OLDPWD"})
"""Variables that are only named like a password: the shell's working folders."""
SHORTEST = 5
"""Shorter values are not hidden by value: masking every "a" hides nothing and garbles all."""
SHORTEST_WORD = 8
"""The same for what could be an English word: with the password "wrong", "your password is ***"
would tell what it is."""

_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|"
    r"credentials?|authorization|signature|salt|dsn"
)
# PASSWORD, DB_PASSWORD_2 and SECRET_KEY_BASE are secrets; PASSWORD_MIN_LENGTH is a number.
_SECRET_NAME = re.compile(
    rf"(?:{_NAMES})(?:[_\-. ]?(?:key|base|value|hash|text|old|new|previous|next|\d+))*$",
    re.IGNORECASE,
)
_URL = re.compile(
    r"(?P<head>[a-z][a-z0-9+.\-]*://[^\s:/@]*:)(?P<password>[^\s/]*)(?=@)", re.IGNORECASE
)
_ASSIGNMENT = re.compile(
    rf"(?P<head>\b[\w\-]*(?:{_NAMES})[\"']?\s*(?:=|:)\s*(?:Bearer |Basic )?)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;)}\]&]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<head>\b(?:Bearer|Basic) )(?P<value>[A-Za-z0-9._~+/\-]{8,}=*)")
_FAILING_ROW = re.compile(r"Failing row contains \(.*?\)\.?(?=\n|$)", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Return whether a variable, setting or option of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


class Redactor:
    """Masks secrets in texts and data. One a process; it learns values as the run goes on."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for name, value in (environ or {}).items():
            self._learn_variable(name, value)

    def add(self, value: str) -> None:
        """Mask this value from now on, in its plain and its URL-encoded spellings."""
        is_word = value.isalpha() and value.islower()
        if len(value) < (SHORTEST_WORD if is_word else SHORTEST):
            return
        self._values |= {value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return the text with every secret masked."""
        if self._pattern:
            text = self._pattern.sub(MASK, text)
        text = _URL.sub(_mask_password, text)
        text = _ASSIGNMENT.sub(_mask_value, text)
        text = _BEARER.sub(rf"\g<head>{MASK}", text)
        return _FAILING_ROW.sub(f"Failing row contains ({MASK})", text)

    def data(self, value: Any) -> Any:
        """Return a copy of mappings and lists with every secret in them masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                key: MASK if _hides(str(key), item) else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.data(item) for item in value]
        return value

    def lines(self, texts: Iterable[str]) -> list[str]:
        """Mask each text."""
        return [self.text(text) for text in texts]

    def _learn_variable(self, name: str, value: str) -> None:
        if name in NOT_SECRETS:
            return
        match = _URL.search(value)
        if match:
            self._learn_url(value, match["password"])
        elif is_secret_name(name) and value.lower() not in {"true", "false"}:
            self.add(value)

    def _learn_url(self, url: str, password: str) -> None:
        """Learn a URL's password, unless it is also its user, host or database name.

        `postgres:postgres@localhost/postgres` is no secret, and masking it by value would hide
        the very name an operator has to type.
        """
        others = url.replace(f":{password}@", "@", 1)
        if password not in re.split(r"[:/@?&=]", others):
            self.add(password)
            self.add(unquote(password))


def _mask_password(match: re.Match[str]) -> str:
    # What documents and our own advice write where a password goes is none.
    is_placeholder = match["password"].lower() in {"password", "pass"}
    return match[0] if is_placeholder else match["head"] + MASK


def _mask_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.strip("\"'") in {"", MASK, "None", "null", "True", "False", "true", "false"}:
        return match[0]
    return match["head"] + MASK


def _hides(key: str, item: object) -> bool:
    return isinstance(item, str) and bool(item) and is_secret_name(key)
