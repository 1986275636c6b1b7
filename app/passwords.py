"""Hash and check passwords. All parameters and rules are in this module."""

from __future__ import annotations

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from oneoff import DataError

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""Argon2id with 19 MiB, two passes, one lane: OWASP's minimum (Password Storage Cheat Sheet).

Raise the costs when hardware gets faster. `needs_rehash` finds hashes with the old costs.
"""

UNUSABLE = "!"
"""Stored instead of a hash, for a user who can't sign in until the password is reset."""


async def hash_new(password: str, min_length: int) -> str:
    """Return the hash of a new password.

    Length is the only rule: NIST SP 800-63B-4, section 3.1.1.2, forbids composition rules ("one
    digit, one symbol") and forced rotation. Characters are counted as Unicode code points.

    Raises:
        DataError: The password is shorter than `min_length`.
    """
    length = len(_normalise(password))
    if length < min_length:
        raise DataError(
            f"the password is too short: {length} characters, at least {min_length} are needed",
            why="a longer password is harder to guess",
            try_=(
                "choose a longer password; a few random words are easy to remember",
                "or let the command generate one with --generate-password",
            ),
            code="password-too-short",
        )
    return await hash_password(password)


async def hash_password(password: str) -> str:
    """Return the hash to store. It contains the salt and the parameters.

    Hashing runs in a thread, because it takes tens of milliseconds and would block the event loop.
    """
    return await asyncio.to_thread(HASHER.hash, _normalise(password))


async def verify_password(password_hash: str, password: str) -> bool:
    """Return whether the password is correct; False for an unusable or damaged hash."""
    try:
        return await asyncio.to_thread(HASHER.verify, password_hash, _normalise(password))
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Return whether the hash was made with other parameters than the current ones.

    Call this after a successful sign-in: only then the password is known.
    """
    return password_hash != UNUSABLE and HASHER.check_needs_rehash(password_hash)


def _normalise(password: str) -> str:
    # Keyboards send "é" as one code point or as two (NIST SP 800-63B-4, UAX 15).
    return unicodedata.normalize("NFKC", password)
