"""The format of API keys, and their scopes. No test needs a database."""

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


def test_a_key_starts_with_the_brand_and_has_256_random_bits() -> None:
    """Prefix and hash belong to the text, and two keys have different ids."""
    made, other = generate(), generate()
    text = made.text.reveal()

    assert (63, "shop_", made.prefix) == (len(text), text[:5], prefix_of(text))
    assert len(BASE62) ** apikey_format.SECRET_LENGTH >= 2**256
    assert apikey_format.digest(text) == made.digest
    assert made.prefix != other.prefix
    assert text not in repr(made)


def test_the_checksum_is_crc_32_in_base_62() -> None:
    """Every table of CRCs gives 0xCBF43926 for "123456789"."""
    number = sum(
        BASE62.index(digit) * 62**place
        for place, digit in enumerate(reversed(apikey_format.checksum("123456789")))
    )

    assert 0xCBF43926 == number


@given(keys, positions, characters)
def test_one_wrong_character_is_always_detected(key: str, at: int, wrong: str) -> None:
    """At any position, also in the checksum."""
    typed = key[:at] + wrong + key[at + 1 :]

    assert (typed == key) is (prefix_of(typed) is not None)


@given(keys, st.integers(min_value=0, max_value=len(KEY) - 2))
def test_two_swapped_characters_are_always_detected(key: str, at: int) -> None:
    """Unless both characters are equal."""
    typed = key[:at] + key[at + 1] + key[at] + key[at + 2 :]

    assert (typed == key) is (prefix_of(typed) is not None)


@given(keys, positions, characters)
def test_an_extra_or_missing_character_is_always_detected(key: str, at: int, more: str) -> None:
    """For example when a copied key lacks its end or includes a space."""
    assert prefix_of(key[:at] + key[at + 1 :]) is None
    assert prefix_of(key[:at] + more + key[at:]) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    """And no text raises an error."""
    assert prefix_of(text) is None


@pytest.mark.parametrize("text", ["", "shop_", KEY[:-1], f"{KEY}\n", KEY.upper(), KEY * 1_000])
async def test_a_mistyped_key_is_refused_without_a_query(text: str) -> None:
    """The session is None, so a query would fail."""
    with pytest.raises(BadKey) as caught:
        await authenticate(None, text)  # type: ignore[arg-type]

    assert ("malformed" if text else "missing", None) == (caught.value.reason, caught.value.key_id)
    assert "the API key is not valid" == str(caught.value)


@pytest.mark.parametrize(
    "text", [f"apikey revoke {KEY} --confirm", f"curl -H 'X-API-Key: {KEY}'", f'["{KEY}"]', KEY]
)
def test_a_key_is_masked_by_its_format(text: str) -> None:
    """The prefix is kept, because it is needed to revoke the key."""
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
def test_a_role_limits_the_scopes_of_its_keys(role: Role | None, expected: str) -> None:
    """A service account has no role, so its keys can have all scopes."""
    assert expected == scopes.as_text(scopes.allowed(role))


@given(st.frozensets(st.sampled_from(Scope)))
def test_stored_scopes_are_read_back_unchanged(granted: frozenset[Scope]) -> None:
    """For every set of scopes."""
    assert granted == scopes.from_text(scopes.as_text(granted))


def test_a_scope_that_no_longer_exists_is_ignored() -> None:
    """The row of a key can be older than the code."""
    assert frozenset({Scope.READ}) == scopes.from_text("read refund")
