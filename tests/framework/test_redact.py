"""Secrets appear in nothing that is printed, logged or recorded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.redact import MASK, Redactor, is_secret_name

SECRET = "h0t!/p@tato"  # noqa: S105 - planted


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ada:{}@db.example.com/shop",
        "could not connect to redis://:{}@cache:6379/0",
        'password="{}"',
        "PASSWORD={}",
        "password: {}",
        "{{'api_key': '{}'}}",
        '{{"token": "{}"}}',
        "Authorization: Bearer {}",
        "aws_secret_access_key={}",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """URLs, assignments and headers are recognised by their shape."""
    redacted = Redactor().text(text.format("hunter2hunter2"))

    assert "hunter2" not in redacted
    assert MASK in redacted


@given(st.text(min_size=5), st.text(), st.text())
def test_a_known_value_is_masked_wherever_it_stands(secret: str, before: str, after: str) -> None:
    """A secret that was read once can't come back in any text."""
    redactor = Redactor()
    redactor.add(secret)

    redacted = redactor.text(f"{before}\x00{secret}\x00{after}")

    assert secret not in redacted.replace(MASK, "")


def test_the_url_encoded_spelling_of_a_known_value_is_masked() -> None:
    """Drivers quote a password before they put it into a message."""
    redactor = Redactor({"DATABASE_URL": "postgres://u:h0t%21%2Fp%40tato@h/db"})

    assert "*** ***" == redactor.text(f"{SECRET} h0t%21%2Fp%40tato")


def test_variables_named_like_secrets_are_learnt() -> None:
    """Whatever the process was given as a secret stays one."""
    redactor = Redactor({"STRIPE_API_KEY": "sk_live_abc", "HOME": "/home/ada"})

    assert "*** in /home/ada" == redactor.text("sk_live_abc in /home/ada")


def test_a_password_that_is_also_the_database_name_hides_nothing() -> None:
    """Otherwise the operator could not read the target to type."""
    redactor = Redactor({"DATABASE_URL": "postgres://postgres:postgres@localhost/postgres"})

    assert "postgres@development" == redactor.text("postgres@development")


def test_short_values_are_not_hunted_for() -> None:
    """Masking every "a" would hide nothing and garble all."""
    redactor = Redactor({"PASSWORD": "a"})

    assert "banana" == redactor.text("banana")


def test_data_is_masked_by_key_and_by_value() -> None:
    """Nested mappings and lists too; numbers and None stay what they are."""
    redactor = Redactor()
    redactor.add(SECRET)

    masked = redactor.data(
        {"password": "x", "rows": [{"note": f"is {SECRET}"}, 3, None], "token": ""}
    )

    assert {"password": MASK, "rows": [{"note": f"is {MASK}"}, 3, None], "token": ""} == masked


def test_postgresql_details_of_a_failing_row_are_masked() -> None:
    """A constraint error repeats the whole row, hashes included."""
    text = "null value\nDETAIL:  Failing row contains (1, ada, $argon2id$v=19$abc, null)."

    assert "null value\nDETAIL:  Failing row contains (***)" == Redactor().text(text)


@pytest.mark.parametrize(
    "name", ["PASSWORD", "db_password_2", "api-key", "SECRET_KEY_BASE", "authToken"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    """Whatever the case and the separators."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["HOME", "username", "PASSWORD_MIN_LENGTH", "passenger", "monkey"])
def test_names_of_other_things_are_left_alone(name: str) -> None:
    """A word that merely contains the letters is no secret."""
    assert not is_secret_name(name)
