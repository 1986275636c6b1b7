"""Say how many there are of something, as people would."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return "1 key", "0 keys", "1,500 keys"; `plural` is for nouns that need more than an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
