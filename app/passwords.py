"""Hash and check passwords. All parameters and rules are in this module."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Iterable

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from app.weak_passwords import is_weak
from oneoff import DataError, counted

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""Argon2id with 19 MiB, two passes, one lane: OWASP's minimum (Password Storage Cheat Sheet).

Raise the costs when hardware gets faster. `needs_rehash` finds hashes with the old costs.
"""

UNUSABLE = "!"
"""Stored instead of a hash, for a user who can't sign in until the password is reset."""


async def hash_new(password: str, min_length: int, about: Iterable[str] = ()) -> str:
    """Return the hash of a new password. Raises DataError if `check_new` does."""
    check_new(password, min_length, about)
    return await hash_password(password)


def check_new(password: str, min_length: int, about: Iterable[str] = ()) -> None:
    """Check whether a new password may be used.

    It must be long and hard to guess. There is no other rule: NIST SP 800-63B-4, section 3.1.1.2,
    forbids composition rules ("one digit, one symbol") and forced rotation. Characters are counted
    as Unicode code points.

    Args:
        password: The new password.
        min_length: The minimum number of characters.
        about: What is known of the user, such as username and email.

    Raises:
        DataError: The password is shorter than `min_length`, or easy to guess.
    """
    normal = _normalise(password)
    length = len(normal)
    if length < min_length:
        raise DataError(
            f"the password is too short: {counted(length, 'character')}, "
            f"at least {min_length} are needed",
            why="a longer password is harder to guess",
            try_=(
                "choose a longer password; a few random words are easy to remember",
                "or let the command generate one with --generate-password",
            ),
            code="password-too-short",
        )
    if is_weak(normal, about):
        raise DataError(
            "the password is easy to guess",
            why="it consists of runs such as 12345, repetitions, common words or the user's name",
            try_=(
                "choose a few random words, which are easy to remember",
                "or let the command generate one with --generate-password",
            ),
            code="password-too-weak",
        )


async def hash_password(password: str) -> str:
    """Return the hash to store. It contains the salt and the parameters.

    Hashing runs in a thread, because it takes tens of milliseconds and would block the event loop.
    """
    return await asyncio.to_thread(HASHER.hash, _encoded(password))


async def verify_password(password_hash: str, password: str) -> bool:
    """Return whether the password is correct; False for an unusable or damaged hash.

    Each call costs one hash, also for an account without a password and for a name that does not
    exist (pass `UNUSABLE`). Otherwise the response time would reveal which accounts exist.
    """
    return await asyncio.to_thread(_verify, password_hash, _encoded(password))


def needs_rehash(password_hash: str) -> bool:
    """Return whether the hash was made with other parameters than the current ones.

    Call this after a successful sign-in: only then the password is known.
    """
    return password_hash != UNUSABLE and HASHER.check_needs_rehash(password_hash)


def _verify(password_hash: str, password: bytes) -> bool:
    try:
        extract_parameters(password_hash)
    except InvalidHashError:
        password_hash = _hash_of_no_password()
    try:
        return HASHER.verify(password_hash, password)
    except VerificationError:
        return False


def _hash_of_no_password() -> str:
    """Return a hash with the current costs. The password that it fits is not known to anyone."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).decode().rstrip("=")
        for length in (HASHER.salt_len, HASHER.hash_len)
    )
    costs = f"m={HASHER.memory_cost},t={HASHER.time_cost},p={HASHER.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


def _encoded(password: str) -> bytes:
    # A password with a lone surrogate, which JSON allows, fits no hash. It must not be an error.
    return _normalise(password).encode("utf-8", "surrogatepass")


def _normalise(password: str) -> str:
    # Keyboards send "é" as one code point or as two (NIST SP 800-63B-4, UAX 15).
    return unicodedata.normalize("NFKC", password)
