"""The form of API keys, and what their scopes mean: nothing here needs a database."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import apikey_format, scopes
from app.apikey_format import BASE62, generate, prefix_of
from app.apikeys import BadKey, authenticate
from app.roles import Role
from app.scopes import Scope
from oneoff.utils.redaction import Redactor

KEY = "shop_4Tf9sKq2_IMXnuov6xCK8uW22WZfRwAcv6Cy1T1GrlU5pgf98oGj"
KEY += apikey_format.checksum(KEY)

positions = st.integers(min_value=0, max_value=len(KEY) - 1)
characters = st.sampled_from(string.ascii_letters + string.digits + "_- é\x00")
randoms = st.text(alphabet=BASE62, min_size=51, max_size=51)
bodies = randoms.map(lambda text: f"shop_{text[:8]}_{text[8:]}")
keys = bodies.map(lambda body: body + apikey_format.checksum(body))


def test_a_key_says_what_it_is_and_has_256_random_bits() -> None:
    """Prefix and hash are those of the text; two keys have nothing in common but the name."""
    made, other = generate(), generate()
    text = made.text.reveal()

    assert (63, "shop_", made.prefix) == (len(text), text[:5], prefix_of(text))
    assert len(BASE62) ** apikey_format.SECRET_LENGTH >= 2**256
    assert apikey_format.digest(text) == made.digest
    assert made.prefix != other.prefix
    assert text not in repr(made)


def test_the_checksum_is_crc_32_in_base_62() -> None:
    """Known values: that of "123456789" in every table of CRCs is 0xCBF43926."""
    number = sum(
        BASE62.index(digit) * 62**place
        for place, digit in enumerate(reversed(apikey_format.checksum("123456789")))
    )

    assert 0xCBF43926 == number


@given(keys, positions, characters)
def test_one_wrong_character_is_always_found(key: str, at: int, wrong: str) -> None:
    """Wherever it is, in the checksum too."""
    typed = key[:at] + wrong + key[at + 1 :]

    assert (typed == key) is (prefix_of(typed) is not None)


@given(keys, st.integers(min_value=0, max_value=len(KEY) - 2))
def test_two_neighbours_in_the_wrong_order_are_always_found(key: str, at: int) -> None:
    """Unless they are the same."""
    typed = key[:at] + key[at + 1] + key[at] + key[at + 2 :]

    assert (typed == key) is (prefix_of(typed) is not None)


@given(keys, positions, characters)
def test_one_character_too_many_or_too_few_is_always_found(key: str, at: int, more: str) -> None:
    """A copy that lost its end, or took a space with it."""
    assert prefix_of(key[:at] + key[at + 1 :]) is None
    assert prefix_of(key[:at] + more + key[at:]) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    """Nor an error."""
    assert prefix_of(text) is None


@pytest.mark.parametrize("text", ["", "shop_", KEY[:-1], f"{KEY}\n", KEY.upper(), KEY * 1_000])
async def test_a_mistyped_key_is_refused_without_the_database(text: str) -> None:
    """There is no session here that could be asked."""
    with pytest.raises(BadKey) as caught:
        await authenticate(None, text)  # type: ignore[arg-type]

    assert ("malformed" if text else "missing", None) == (caught.value.reason, caught.value.key_id)
    assert "the API key is not valid" == str(caught.value)


@pytest.mark.parametrize(
    "text", [f"apikey revoke {KEY} --confirm", f"curl -H 'X-API-Key: {KEY}'", f'["{KEY}"]', KEY]
)
def test_a_key_is_masked_by_its_shape(text: str) -> None:
    """In the record of a run, for instance; the prefix stays, for that is how it is revoked."""
    shown = Redactor().text(text)

    assert KEY[14:] not in shown
    assert "api-key" in shown.lower() or "shop_4Tf9sKq2_***" in shown


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.USER, "read write"),
        (Role.MODERATOR, "read write"),
        (Role.ADMIN, "read write admin"),
        (None, "read write admin"),
    ],
)
def test_a_role_limits_what_its_keys_can_do(role: Role | None, expected: str) -> None:
    """A service account has none, and only the scopes of its keys limit it."""
    assert expected == scopes.as_text(scopes.allowed(role))


@given(st.frozensets(st.sampled_from(Scope)))
def test_scopes_are_stored_as_words_in_order(granted: frozenset[Scope]) -> None:
    """And come back as they were."""
    assert granted == scopes.from_text(scopes.as_text(granted))


def test_a_scope_that_is_not_known_any_more_allows_nothing() -> None:
    """The row of a key may be older than the code."""
    assert frozenset({Scope.READ}) == scopes.from_text("read refund")
