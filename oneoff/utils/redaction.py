"""Mask secrets in everything that is printed, logged or recorded.

There are two ways to find them: by value, if the value is known to be secret (a password that was
read, an environment variable with a name like a secret's, the password in a URL), and by pattern,
for texts that look like a secret.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus, unquote

from oneoff.utils import sql_secrets
from oneoff.utils.anchored import substitute
from oneoff.utils.possessive import repeated
from oneoff.utils.secret_names import MASK, NAME, NAME_STARTS

SHORTEST = 5
"""Characters. Shorter values are not masked: masking every "a" would make texts unreadable."""
SHORTEST_WORD = 8
"""The same for a value of lower-case letters only, which may be an English word: with the password
"wrong", the message "your password is ***" would reveal it."""
MOST_URLS = 20

# A quote that is followed by a letter does not end the text: the next quoted text starts there.
_IN_DOUBLE, _IN_SINGLE = repeated(r"[^\"\\]|\\."), repeated(r"[^'\\]|\\.")
_QUOTED = rf"[bru]{{0,2}}+(?:\"{_IN_DOUBLE}\"|'{_IN_SINGLE}')(?!\w)"
# A quoted text without its end, which was cut off. It is masked up to the end of the line.
_CUT = r"[bru]{0,2}+[\"'][^\n]*+"
_ESCAPED = r"[bru]{0,2}+(?:\\\"[^\"\n]*+\"|\\'[^'\n]*+'|\\[\"'][^\n]*+)"
# "SECRET_KEY: has fewer than 32 characters" is about a secret, but contains none.
_SENTENCE = (
    r" (?:has|is|are|was|must|should|needs|can't|cannot|not|"
    r"field(?= required)|(?:string|input|value)(?= should)|value(?= error)) "
)
_SECRET_NAME = re.compile(rf"{NAME}$", re.IGNORECASE)
_URL = re.compile(
    r"(?P<head>://[^\s:/@]*+:)(?!\d{1,5}/)"
    # A raw "/" or "@" may be part of the password; a quote too, unless it ends the URL.
    r"(?P<password>(?:[^\s:\"'<>]|:(?!//))*(?=@)|[^\s/]*(?=@))"
)
_USER = re.compile(r"://(?P<user>[^\s:/@]+)@")
_ASSIGNMENT = re.compile(
    rf"(?P<head>{NAME}\\?[\"']?\s*+(?:=|:(?!{_SENTENCE}))\s*+(?:(?:Bearer|Basic) )?)"
    rf"(?P<value>{_QUOTED}|{_CUT}|{_ESCAPED}|[\[{{][^\n]*+|[^\s,;)}}\]&]++)",
    re.IGNORECASE | re.DOTALL,
)
_WORD_ASSIGNMENT = re.compile(
    rf"(?P<head>[\w.\-=]*?{NAME}=)(?P<value>.+)", re.IGNORECASE | re.DOTALL
)
_COOKIES = re.compile(r"(?P<head>\bCookie\\?[\"']?: ?\\?[\"']?)[^\n\"'\\]++", re.IGNORECASE)
_OPTION = re.compile(
    r"(?<![\w\-])--(?!generate-|show-|no-)(?P<name>[\w\-]++)"
    rf"(?:[\"']\s*+,\s*+(?P<listed>{_QUOTED})|\s++(?P<value>{_QUOTED}|[^\s\"'`,;)-][^\s\"'`,;)]*+))",
    re.DOTALL,
)
_PAIR = re.compile(
    rf"\([\"'](?P<name>[\w\- ]{{1,60}}+)[\"']\s*+,\s*+(?P<value>{_QUOTED})\s*+\)", re.DOTALL
)
_CUT_OFF = re.compile(
    r"(?P<head>(?:(?<![\w\-])--(?!generate-|show-|no-)|\([\"'])[\w\-]{0,60}?"
    rf"{NAME}(?:[\"']\s*+,|\s)\s*+)(?P<value>(?!{_QUOTED}){_CUT})",
    re.IGNORECASE | re.DOTALL,
)
_REDIS_USER = re.compile(
    r"(?P<head>\b(?:redis|valkey)s?://)(?P<user>[^\s:/@\"']++)(?=@)", re.IGNORECASE
)
_JWT = re.compile(r"(?<![\w\-])eyJ[\w\-]{12,}+" + repeated(r"\.[\w\-]*+"))
_BEARER = re.compile(r"(?P<head>\b(?:Bearer|Basic) )(?P<value>[A-Za-z0-9._~+/\-]{8,}+=*+)")
# An access token as services write it, ours and others': a name, then at least 36 letters and
# digits (ghp_..., shop_4Tf9sKq2_...). A hash in hexadecimal has no capital letters; it is none.
_TOKEN = re.compile(r"_(?=[a-z0-9]*+[A-Z])(?=[A-Za-z]*+[0-9])[A-Za-z0-9]{36,}+(?!_)")
# Before a word there may be an escape that ends with a letter: \n, \x00, %2F, or a color.
_WORD_START = (
    r"(?:(?<!\w)|(?<=\\[abfnrtv0])|(?<=\\x..)|(?<=\\u....)|(?<=%[0-9A-Fa-f]{2})"
    r"|(?<=\x1b\[\dm)|(?<=\x1b\[\d\dm))"
)
_WORD = re.compile(r"[a-z']{1,7}")
_COUNT = re.compile(r"\d{1,9}")
_OPENING = re.compile(r"[bru]{0,2}(\\?[\"'])", re.IGNORECASE)
_NO_SECRETS = frozenset({"", MASK, "none", "null", "true", "false"})


def is_secret_name(name: str) -> bool:
    """Return whether a variable, setting or option with this name contains a secret."""
    return bool(_SECRET_NAME.search(name))


def hides(name: object, value: object) -> bool:
    """Return whether the value of this name has to be masked.

    Empty values and booleans are not secrets. Nor is a number whose name is a plural:
    MAX_TOKENS=100.
    """
    if value is None or isinstance(value, bool) or value in ("", b"", [], (), {}):
        return False
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    found = _SECRET_NAME.search(text)
    if not found or (found["many"] and isinstance(value, int | float)):
        return False
    return not (found["many"] and isinstance(value, str) and _COUNT.fullmatch(value))


def clean(text: str) -> str:
    """Return the text in a form that every terminal and database accepts.

    Bytes that are not UTF-8, and NUL, which PostgreSQL refuses, are written as escapes.
    """
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    return text.replace("\x00", r"\x00")


class Redactor:
    """Masks secrets in texts and data. Values that become known during the run can be added."""

    _urls: ClassVar[tuple[str, ...]] = ()

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._values: set[str] = set()
        self._kept: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._known_urls: tuple[str, ...] = ()
        for name, value in (environ or {}).items():
            self._learn_variable(name, value)

    @classmethod
    def know_url(cls, url: str) -> None:
        """Mask the secrets of this URL from now on, in every redactor of the process.

        The application's code provides it while a run connects, when the redactors of its output,
        log and record exist already. The last `MOST_URLS` are known: a URL may have a new password
        for each connection.
        """
        if url and url not in Redactor._urls:
            Redactor._urls = (*Redactor._urls, url)[-MOST_URLS:]

    def add(self, value: str) -> None:
        """Mask this value from now on, also in its URL-encoded forms."""
        is_word = value.isalpha() and value.islower()
        if len(value) < (SHORTEST_WORD if is_word else SHORTEST):
            return
        # A new set, because another thread may be reading the old one.
        forms = {value, quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}
        self._values = self._values | forms
        self._compile()

    def keep(self, *texts: str) -> None:
        """Show these texts, although a part of them may be a secret.

        With the password "shop1" an operator must be able to read and type "shop1_live@production".
        A text that is itself a secret is masked.
        """
        self._kept |= {text for text in texts if len(text) > SHORTEST}
        self._compile()

    def text(self, text: str) -> str:
        """Return the text with every secret masked, cleaned as by `clean`."""
        if self._known_urls is not Redactor._urls:
            self._learn_urls()
        if self._pattern and any(value in text for value in self._values):
            text = self._pattern.sub(self._mask_known, text)
        text = _URL.sub(_mask_password, text)
        text = substitute(_REDIS_USER, _mask_after_head, text, ("redis", "valkey"))
        text = sql_secrets.mask(text)
        text = substitute(_COOKIES, _mask_after_head, text, ("cookie",))
        text = substitute(_ASSIGNMENT, _mask_value, text, NAME_STARTS)
        text = _OPTION.sub(_mask_option, text)
        text = _PAIR.sub(_mask_named, text)
        text = substitute(_CUT_OFF, _mask_value, text, ("--", "('", '("'))
        text = substitute(_BEARER, _mask_after_head, text, ("bearer", "basic"))
        text = _TOKEN.sub(f"_{MASK}", text)
        text = substitute(_JWT, lambda _: MASK, text, ("eyj",))
        return clean(text)

    def data(self, value: Any) -> Any:
        """Return a copy of mappings and lists with every secret in them masked.

        Another object is returned as it is, unless its text contains a secret.
        """
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {
                self.data(key): MASK if hides(key, item) else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.data(item) for item in value]
        shown = str(value)
        masked = self.text(shown)
        return value if masked == shown else masked

    def word(self, word: str) -> str:
        """Mask secrets in one word of a command line: in `password=a b c` all after `=`."""
        if (found := _WORD_ASSIGNMENT.match(word)) and hides(found["head"][:-1], found["value"]):
            word = found["head"] + MASK
        return self.text(word)

    def lines(self, texts: Iterable[str]) -> list[str]:
        """Mask each text."""
        return [self.text(text) for text in texts]

    def _compile(self) -> None:
        if not self._values:
            return
        # The longest first: a text to keep is found before the secret that is a part of it.
        longest_first = sorted(self._values | self._kept, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern_of, longest_first)))

    def _mask_known(self, match: re.Match[str]) -> str:
        return MASK if match[0] in self._values else match[0]

    def _learn_urls(self) -> None:
        urls = Redactor._urls
        for url in urls:
            self._learn_variable("", url)
        self._known_urls = urls

    def _learn_variable(self, name: str, value: str) -> None:
        passwords = [match["password"] for match in _URL.finditer(value)]
        for password in passwords:
            self._learn_password(value, password)
        if "://" in value:
            for match in _ASSIGNMENT.finditer(value):  # postgres://host/shop?password=...
                self.add(match["value"])
                self.add(unquote(match["value"]))
        for match in _REDIS_USER.finditer(value):  # a password without its colon
            self.add(match["user"])
        if hides(name, value):
            self._learn_secret(value, is_url=bool(passwords))

    def _learn_secret(self, value: str, *, is_url: bool) -> None:
        for match in _USER.finditer(value):  # SENTRY_DSN is https://key@host/1
            if not match["user"].isalpha():
                self.add(match["user"])
        if not is_url and value.lower() not in _NO_SECRETS:
            for one in {value, *_listed(value)}:
                self.add(one)

    def _learn_password(self, url: str, password: str) -> None:
        """Mask a URL's password by value, unless it is also its user, host or database name.

        `postgres:postgres@localhost/postgres` has no secret. Masking it by value would hide the
        database's name, which an operator has to type.
        """
        others = re.split(r"[:/@?&=]", url.replace(f":{password}@", "@", 1))
        # The pattern may match too much: up to an "@" in a path, or in the next host of a list.
        first, *more = re.split(r"@[^\s,@]*,[^\s,:@]*:", password)
        self.keep(*others)
        for known in {password, first, *more, re.split(r"@[^@]*/", first)[0]}:
            if known not in others:
                self.add(known)
                self.add(unquote(known))


def command_line(program: str, words: Iterable[str]) -> str:
    """Return a line that can be typed, with the secrets in its words masked.

    They are masked before they are quoted, because quotes within quotes hide a secret's form.
    """
    return " ".join([program, *map(shlex.quote, map(Redactor().word, words))])


def _pattern_of(value: str) -> str:
    """Return the pattern that finds a value; a short one only if it is not part of a word."""
    pattern = re.escape(value)
    is_short_word = len(value) < SHORTEST_WORD and value.isascii() and value.isalnum()
    return rf"{_WORD_START}{pattern}(?!\w)" if is_short_word else pattern


def _mask_password(match: re.Match[str]) -> str:
    # "password" and "pass" are placeholders, in documentation and in oneoff's own messages.
    is_placeholder = match["password"].lower() in {"password", "pass"}
    return match[0] if is_placeholder else match["head"] + MASK


def _mask_after_head(match: re.Match[str]) -> str:
    return match["head"] + MASK


def _mask_value(match: re.Match[str]) -> str:
    value = match["value"]
    bare = value.strip("\\\"'").lower()
    if bare in _NO_SECRETS or (match["many"] and _COUNT.fullmatch(bare)):
        return match[0]
    return match["head"] + _masked(value)


def _mask_option(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    value = match["listed"] or match["value"]
    # "--password is missing" is a sentence, not an option with a value.
    if match["value"] and _WORD.fullmatch(value):
        return match[0]
    return match[0].removesuffix(value) + _masked(value)


def _mask_named(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    return match[0].replace(match["value"], _masked(match["value"]))


def _masked(value: str) -> str:
    """Return the mask with the quotes of the value, so that JSON stays valid."""
    opening = _OPENING.match(value)
    return f"{opening[1]}{MASK}{opening[1]}" if opening else MASK


def _listed(value: str) -> list[str]:
    """Return the secrets in a variable that contains several, as JSON or separated by commas."""
    try:
        found = json.loads(value)
    except ValueError:
        return value.split(",")
    many = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [one for one in many if isinstance(one, str)]
