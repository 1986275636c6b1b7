"""Choose the language for a user from the Accept-Language header."""

from __future__ import annotations

OURS = ("en", "de", "fr", "es")
"""The languages of the application; the first one is the default."""


def best_match(accept_language: str) -> str:
    """Return the supported language that a header prefers (RFC 9110, section 12.5.4)."""
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, weight = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        quality = _quality(weight)
        if language in OURS and quality > 0:
            wanted.append((quality, language))
    # Of languages with equal weight `max` returns the first one in the header.
    return max(wanted, key=lambda found: found[0])[1] if wanted else OURS[0]


def _quality(text: str) -> float:
    name, _, number = text.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(number)
    except ValueError:
        return 0.0
