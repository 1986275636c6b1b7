"""The choice of a language from the Accept-Language header."""

from __future__ import annotations

import pytest

from app.locales import best_match


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("nl, fr;q=0.5", "fr"),
        ("fr;q=0.2, es;q=0.7", "es"),
        ("es, fr", "es"),
        ("de;q=0, en;q=0.1", "en"),
        ("de;q=nonsense, fr;q=0.1", "fr"),
        ("*", "en"),
    ],
)
def test_the_language_with_the_highest_weight_is_chosen(header: str, language: str) -> None:
    """Of equal weights the first one; English if no language is supported."""
    assert language == best_match(header)
