"""Recognise passwords that are long but easy to guess.

NIST SP 800-63B-4, section 3.1.1.2, requires a check against values that are common or expected. A
password is reduced first: a run such as `12345` or `qwerty`, a repetition, a common word and a word
about the user count as one character each, because that is about what they cost to guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MINIMUM = 8
"""Characters that must be left of a reduced password, and the minimum of different ones in it."""
_DIFFERENT = 5

_ROWS = (
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "azertyuiop",
    "yxcvbnm",
    "zxcvbnm",
    *("1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm"),
)
_RUN = 3  # characters; shorter runs also occur in words
_WORDS = (
    "password passwort passwd passphrase secret letmein welcome iloveyou monkey dragon football "
    "baseball sunshine princess superman batman master shadow trustno admin administrator root "
    "user login access changeme default example test shop"
).split()
_SEPARATORS = re.compile(r"[\s._-]")
_LEET = str.maketrans("013457@$!", "oieastasi")


def is_weak(password: str, about: Iterable[str] = ()) -> bool:
    """Return whether a password is easy to guess.

    Args:
        password: The password, normalised.
        about: What is known of the user, such as username and email.
    """
    text = _SEPARATORS.sub("", password.casefold())
    words = sorted({*_WORDS, *_parts(about)}, key=len, reverse=True)
    reduced = _reduced(text, words)
    variants = (
        reduced,
        _reduced(reduced.translate(_LEET), words),  # "p4ssw0rd" is a word too
        _reduced(text[::2], words) + _reduced(text[1::2], words),  # "1q2w3e" is two runs
    )
    return any(len(left) < MINIMUM or len(set(left)) < _DIFFERENT for left in variants)


def _reduced(text: str, words: list[str]) -> str:
    for word in words:
        text = text.replace(word, word[0])
    text = "".join(_without_runs(text))
    # The shortest part whose repetition is the whole text, or the text itself.
    text = text[: (text + text).find(text, 1)] if text else text
    return re.sub(r"(.{1,8}?)\1{2,}", r"\1", text, flags=re.DOTALL)


def _without_runs(text: str) -> Iterator[str]:
    """Yield the text with the first character only of each run along a row, in any direction."""
    at = 0
    while at < len(text):
        end = at + _RUN
        while end <= len(text) and _is_run(text[at:end]):
            end += 1
        yield text[at]
        at = max(end - 1, at + 1) if end > at + _RUN else at + 1


def _is_run(part: str) -> bool:
    return any(part in row or part[::-1] in row for row in _ROWS)


def _parts(about: Iterable[str]) -> Iterator[str]:
    """Yield the texts, and the words of at least three characters in them."""
    for text in about:
        folded = text.casefold()
        parts = (_SEPARATORS.sub("", folded), *re.split(r"[\W_]+", folded))
        yield from (part for part in parts if len(part) >= _RUN)
