"""The rules for passwords and the parameters of their hashes."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from app.passwords import UNUSABLE, hash_new, hash_password, needs_rehash, verify_password
from oneoff import DataError, ExitCode

LONG = "correct horse battery"


class CountingHasher(PasswordHasher):
    """Collects the parameters of each verification that computes a hash."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.computed: list[Parameters] = []

    @property
    def parameters(self) -> Parameters:
        """The current parameters."""
        return extract_parameters(self.hash(""))

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # noqa: A002
        parameters = extract_parameters(str(hash))  # raises if there is nothing to compute
        self.computed.append(parameters)
        return super().verify(hash, password)


async def test_a_hash_has_the_minimum_costs_of_owasp() -> None:
    """Argon2id with 19 MiB of memory, two passes, one lane."""
    stored = await hash_password(LONG)

    assert ["argon2id", "v=19", "m=19456,t=2,p=1"] == stored.split("$")[1:4]


async def test_only_the_right_password_is_accepted() -> None:
    """A wrong password and a damaged hash are both refused, without an error."""
    stored = await hash_password(LONG)

    answers = [
        await verify_password(stored, LONG),
        await verify_password(stored, LONG + "!"),
        await verify_password("damaged", LONG),
    ]

    assert [True, False, False] == answers


async def test_composed_and_decomposed_letters_are_the_same_password() -> None:
    """Some keyboards send "é" as one code point, others as two."""
    stored = await hash_password("caf\u00e9 au lait, merci")

    assert await verify_password(stored, "cafe\u0301 au lait, merci")


async def test_no_password_matches_an_unusable_hash() -> None:
    """Not even the text that marks the hash as unusable."""
    assert not await verify_password(UNUSABLE, UNUSABLE)
    assert not needs_rehash(UNUSABLE)


async def test_a_hash_with_other_costs_needs_a_rehash() -> None:
    """A hash with the current costs does not."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(LONG)

    assert [True, False] == [needs_rehash(cheap), needs_rehash(await hash_password(LONG))]


async def test_a_short_password_is_refused_without_repeating_it() -> None:
    """The message has both lengths, but not the password."""
    with pytest.raises(DataError) as caught:
        await hash_new("tr0ub4dor&3", min_length=15)

    error = caught.value
    assert "the password is too short: 11 characters, at least 15 are needed" == error.message
    assert ExitCode.DATA == error.exit_code
    assert "tr0ub4dor" not in f"{error.why}{error.try_}"


async def test_there_are_no_composition_rules() -> None:
    """The length counts in code points; digits and symbols are not needed."""
    text = "\u00e9t\u00e9 froid, cha\u00eene"

    assert await verify_password(await hash_new(text, min_length=17), text)


@pytest.mark.parametrize("password", ["12345678901234567890", "\u00e9" * 15, "ada ada ada ada ada"])
async def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    """The message does not contain it."""
    with pytest.raises(DataError) as caught:
        await hash_new(password, min_length=15, about=("ada",))

    assert ("password-too-weak", ExitCode.DATA) == (caught.value.code, caught.value.exit_code)
    assert password not in f"{caught.value.message}{caught.value.why}{caught.value.try_}"


@pytest.mark.parametrize("stored", [UNUSABLE, "damaged", "$argon2id$v=19$m=8", ""])
async def test_each_check_computes_one_hash(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the current costs, whatever is stored: the time of an answer reveals no accounts."""
    hasher = CountingHasher()
    monkeypatch.setattr("app.passwords.HASHER", hasher)
    right = await hash_password(LONG)

    assert await verify_password(right, LONG)
    for _ in range(2):
        assert not await verify_password(stored, LONG)

    assert [hasher.parameters] * 3 == hasher.computed


async def test_a_password_that_is_not_valid_text_is_wrong() -> None:
    """JSON can contain lone surrogates."""
    assert not await verify_password(await hash_password(LONG), "\ud800")


async def test_hashing_does_not_block_the_event_loop() -> None:
    """Other tasks run meanwhile, because hashing runs in a thread."""
    turns = 0
    hashing = asyncio.create_task(hash_password(LONG))

    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 10
