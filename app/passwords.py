"""Hash and check passwords; the parameters and rules stand here and nowhere else."""

from __future__ import annotations

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from oneoff import DataError

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""Argon2id with 19 MiB, two passes, one lane: the OWASP Password Storage Cheat Sheet's minimum.

Raise the costs when hardware gets faster: `needs_rehash` finds the hashes made with the old ones.
"""

UNUSABLE = "!"
"""Stands where a hash would, for a user who can't sign in until the password is reset."""


async def hash_new(password: str, min_length: int) -> str:
    """Return the hash of a password someone chose.

    Length is the only rule: NIST SP 800-63B-4, section 3.1.1.2, forbids composition rules ("one
    digit, one symbol") and forced rotation. Characters are counted as Unicode code points.

    Raises:
        DataError: The password is shorter than `min_length`.
    """
    length = len(_normalise(password))
    if length < min_length:
        raise DataError(
            f"the password is too short: {length} characters, at least {min_length} are needed",
            why="length is what makes a password hard to guess",
            try_=(
                "choose a longer one; a few random words are easy to remember",
                "let it be made up: --generate-password",
            ),
            code="password-too-short",
        )
    return await hash_password(password)


async def hash_password(password: str) -> str:
    """Return the hash to store, salted and with its parameters inside.

    Runs in a thread: the tens of milliseconds it is meant to take would hold up the event loop.
    """
    return await asyncio.to_thread(HASHER.hash, _normalise(password))


async def verify_password(password_hash: str, password: str) -> bool:
    """Tell whether this is the password; never for an unusable or damaged hash."""
    try:
        return await asyncio.to_thread(HASHER.verify, password_hash, _normalise(password))
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Tell whether the hash was made with other parameters than today's.

    Ask after a successful sign-in, the one moment at which the password itself is known.
    """
    return password_hash != UNUSABLE and HASHER.check_needs_rehash(password_hash)


def _normalise(password: str) -> str:
    # Two keyboards may send the same "é" as one code point or as two (NIST SP 800-63B-4, UAX 15).
    return unicodedata.normalize("NFKC", password)
