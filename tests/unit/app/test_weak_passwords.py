"""Passwords that are long but easy to guess."""

from __future__ import annotations

import pytest

from app.weak_passwords import is_weak

ABOUT = ("ada", "ada.lovelace@example.com")
WEAK = [
    "12345678901234567890",
    "98765432109876543210",
    "aaaaaaaaaaaaaaaaaaaa",
    "ababababababababab",
    "abcdefghijklmnopqrst",
    "qwertyuiopasdfghjkl",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb",
    "1234 5678 9012 3456",
    "passwordpassword",
    "P4ssw0rd12345678",
    "Password Password!",
    "adaadaadaadaadaada",
    "ada.lovelace@example.com",
    "AdaLovelace12345",
    "               ",
]
STRONG = [
    "correct horse battery",
    "café au lait, merci",
    "tr0ub4dor&3 rides again",
    "7bXRsmI58ztqkJq2hszJgiOD",
    "\u6b63\u78ba\u306a\u99ac\u306e\u96fb\u6c60\u3068\u30db\u30c1\u30ad\u30b9\u306e\u97f3\u697d\u4f1a",
]


@pytest.mark.parametrize("password", WEAK)
def test_a_password_that_is_easy_to_guess_is_weak(password: str) -> None:
    """Runs, repetitions, common words and what is known of the user add nothing."""
    assert is_weak(password, ABOUT)


@pytest.mark.parametrize("password", STRONG)
def test_words_that_nobody_expects_are_not_weak(password: str) -> None:
    """Without digits or symbols too."""
    assert not is_weak(password, ABOUT)
