"""Patterns of keys, as Redis reads them; needs no driver."""

from __future__ import annotations

import re

_SIGN = re.compile(r"[*?\[\]\\^]")
_SPELLING = re.compile(r"\\(.)|\[(?:\\.|[^\]])*\]?|[*?]", re.DOTALL)


def escaped(text: str) -> str:
    """Return the pattern that matches this text alone."""
    return _SIGN.sub(r"\\\g<0>", text)


def is_everything(pattern: str) -> bool:
    """Return whether a pattern names no text that a key must hold: `*`, `?*`, `[a-z]*`."""
    return not _SPELLING.sub(lambda found: found[1] or "", pattern)


def is_one_key(pattern: str) -> bool:
    """Return whether a pattern holds no sign, so that it matches one key at most."""
    return not _SIGN.search(pattern)
