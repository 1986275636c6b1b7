"""Secrets in SQL and in the messages of database servers and drivers are masked."""

from __future__ import annotations

from time import process_time

import pytest

from oneoff.utils.redaction import Redactor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALTER ROLE x PASSWORD 's3cret'", "ALTER ROLE x PASSWORD '***'"),
        ("alter role x password's3cret'", "alter role x password'***'"),
        ("ALTER ROLE x PASSWORD 'it''s s3cret'", "ALTER ROLE x PASSWORD '***'"),
        (r"ALTER ROLE x PASSWORD E'it\'s s3cret'", "ALTER ROLE x PASSWORD '***'"),
        ("ALTER ROLE x PASSWORD $a$s3cret$a$", "ALTER ROLE x PASSWORD $a$***$a$"),
        ("ALTER ROLE x PASSWORD 's3cret", "ALTER ROLE x PASSWORD '***'"),
        ("GRANT ALL ON a TO x IDENTIFIED BY 's3cret'", "GRANT ALL ON a TO x IDENTIFIED BY '***'"),
        ("CREATE USER x IDENTIFIED BY s3cret", "CREATE USER x IDENTIFIED BY ***"),
        ("OPTIONS (user 'u', password 's3cret')", "OPTIONS (user 'u', password '***')"),
        ("SET app.jwt_secret TO 's3cret'", "SET app.jwt_secret TO '***'"),
        ("select set_config('app.token', 's3cret', true)", "select set_config('***', '***', true)"),
        (
            "INSERT INTO a (b, token) VALUES (1, 's3cret')",
            "INSERT INTO a (b, token) VALUES (1, '***')",
        ),
        ("SELECT crypt('s3cret', salt)", "SELECT crypt('***', salt)"),
        ("SELECT 1 FROM a WHERE 's3cret' = token", "SELECT 1 FROM a WHERE '***' = token"),
        ("no: ALTER ROLE x PASSWORD 's3cret'; 'a'", "no: ALTER ROLE x PASSWORD '***'; 'a'"),
    ],
)
def test_the_values_of_a_statement_that_names_a_secret_are_masked(text: str, expected: str) -> None:
    """In every form that SQL has for a text."""
    assert expected == Redactor().text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Key (token)=(s3cret) already exists.", "Key (token)=(***) already exists."),
        (
            "Key (id, lower(api_key))=(1, s3(cr)et) already exists.\nnext",
            "Key (id, lower(api_key))=(***) already exists.\nnext",
        ),
        (
            "Schlüssel »(token)=(s3cret)« existiert bereits.",
            "Schlüssel »(token)=(***)« existiert bereits.",
        ),
        (
            "DETAIL:  Fehlgeschlagene Zeile enthält (1, s3cret).",
            "DETAIL:  Fehlgeschlagene Zeile enthält (***)",
        ),
        ('CONTEXT:  COPY users, line 3: "1,s3cret"', 'CONTEXT:  COPY users, line 3: "***"'),
        (
            "[SQL: INSERT INTO a VALUES ($1)]\n[parameters: ('s3cret',)]",
            "[SQL: INSERT INTO a VALUES ($1)]\n[parameters: (***)]",
        ),
        (
            "invalid input for query argument $1: 's3cret' (an integer is required)",
            "invalid input for query argument $1: '***' (an integer is required)",
        ),
    ],
)
def test_what_a_server_or_driver_quotes_is_masked(text: str, expected: str) -> None:
    """Their words may be in another language than English."""
    assert expected == Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM sessions WHERE name = 'ada'",
        "UPDATE users SET name = 'ada' WHERE password_changed_at < '2026-01-01'",
        "DETAIL:  Key (id, email)=(1, ada@example.com) already exists.",
        "SELECT 'a'; token missing",
        "identified by its content",
    ],
)
def test_a_statement_without_a_secret_is_not_masked(text: str) -> None:
    """The record of a run shows what was done."""
    assert text == Redactor().text(text)


@pytest.mark.parametrize(
    "part",
    [
        "select ",
        "'",
        "\\'",
        ")=(",
        "$a$",
        "COPY a, line 1: ",
        "query argument $1: ",
        "[parameters: ",
        "DETAIL:  a (",
        "password '",
        "identified by '",
        "set a to '",
        "E'",
    ],
)
def test_the_time_is_proportional_to_the_length_of_sql(part: str) -> None:
    """A text of ten times the length takes about ten times as long."""
    short, long = ("select token " + part * (size // len(part)) for size in (10_000, 100_000))

    assert _fastest(long) / _fastest(short) < 25


def _fastest(text: str) -> float:
    redactor, seconds = Redactor(), []
    for _ in range(3):
        started = process_time()
        redactor.text(text)
        seconds.append(process_time() - started)
    return min(seconds)
