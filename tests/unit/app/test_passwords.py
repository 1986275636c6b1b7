"""The rules and parameters of passwords."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from app.passwords import UNUSABLE, hash_new, hash_password, needs_rehash, verify_password
from oneoff import DataError, ExitCode

LONG = "correct horse battery"


async def test_a_hash_names_its_algorithm_and_costs() -> None:
    """OWASP's minimum for argon2id: 19 MiB of memory, two passes, one lane."""
    stored = await hash_password(LONG)

    assert ["argon2id", "v=19", "m=19456,t=2,p=1"] == stored.split("$")[1:4]


async def test_only_the_right_password_is_verified() -> None:
    """Another password, and a hash that is none, are both simply wrong."""
    stored = await hash_password(LONG)

    answers = [
        await verify_password(stored, LONG),
        await verify_password(stored, LONG + "!"),
        await verify_password("damaged", LONG),
    ]

    assert [True, False, False] == answers


async def test_the_same_letter_typed_on_another_keyboard_is_the_same_password() -> None:
    """One keyboard sends "é" as one code point, another as two."""
    stored = await hash_password("caf\u00e9 au lait, merci")

    assert await verify_password(stored, "cafe\u0301 au lait, merci")


async def test_nothing_signs_in_with_an_unusable_hash() -> None:
    """A seeded user can't sign in, not even with the text that marks the hash."""
    assert not await verify_password(UNUSABLE, UNUSABLE)
    assert not needs_rehash(UNUSABLE)


async def test_a_hash_of_other_costs_is_to_be_renewed() -> None:
    """Raising the costs finds the hashes made before."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(LONG)

    assert [True, False] == [needs_rehash(cheap), needs_rehash(await hash_password(LONG))]


async def test_a_short_password_is_refused_without_repeating_it() -> None:
    """The message gives both lengths, and never the password."""
    with pytest.raises(DataError) as caught:
        await hash_new("tr0ub4dor&3", min_length=15)

    error = caught.value
    assert "the password is too short: 11 characters, at least 15 are needed" == error.message
    assert ExitCode.DATA == error.exit_code
    assert "tr0ub4dor" not in f"{error.why}{error.try_}"


async def test_length_counts_code_points_and_nothing_else_is_asked_for() -> None:
    """Fifteen times one letter is long enough: composition rules are not."""
    assert await verify_password(await hash_new("é" * 15, min_length=15), "é" * 15)


async def test_the_event_loop_goes_on_while_a_password_is_hashed() -> None:
    """Other tasks get their turns; hashed inline, none would before the hash is done."""
    turns = 0
    hashing = asyncio.create_task(hash_password(LONG))

    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 10
