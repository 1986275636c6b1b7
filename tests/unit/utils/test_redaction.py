"""Nothing that is printed, logged or recorded contains a secret."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.utils.redaction import Redactor, is_secret_name
from oneoff.utils.secret_names import MASK

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
def test_secrets_are_found_by_pattern(text: str) -> None:
    """In URLs, assignments and headers."""
    redacted = Redactor().text(text.format("hunter2hunter2"))

    assert "hunter2" not in redacted
    assert MASK in redacted


@given(st.text(min_size=8), st.text(), st.text())
def test_a_known_secret_is_masked_everywhere(secret: str, before: str, after: str) -> None:
    """A secret that was read is masked in every text."""
    redactor = Redactor()
    redactor.add(secret)

    redacted = redactor.text(f"{before}\x00{secret}\x00{after}")

    assert secret not in redacted.replace(MASK, "")


def test_the_url_encoded_form_of_a_known_secret_is_masked() -> None:
    """Drivers may quote a password in their messages."""
    redactor = Redactor({"DATABASE_URL": "postgres://u:h0t%21%2Fp%40tato@h/db"})

    assert "*** ***" == redactor.text(f"{SECRET} h0t%21%2Fp%40tato")


def test_variables_named_like_secrets_are_masked() -> None:
    """Their values are masked in all texts."""
    redactor = Redactor({"STRIPE_API_KEY": "sk_live_abc", "HOME": "/home/ada"})

    assert "*** in /home/ada" == redactor.text("sk_live_abc in /home/ada")


def test_a_password_that_equals_the_database_name_is_not_masked() -> None:
    """The operator must be able to read the target."""
    redactor = Redactor({"DATABASE_URL": "postgres://postgres:postgres@localhost/postgres"})

    assert "postgres@development" == redactor.text("postgres@development")


def test_short_values_are_not_masked() -> None:
    """Masking every "a" would make texts unreadable."""
    redactor = Redactor({"PASSWORD": "a"})

    assert "banana" == redactor.text("banana")


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"DATABASE_URL": "postgres://u:shop1@h/shop1_live"}, "--confirm=shop1_live@production"),
        ({"DATABASE_URL": "postgres://u:shop-live@h/shop-live-2"}, "shop-live-2@staging"),
        ({"DATABASE_URL": "postgres://u:intern@db.intern1.example/shop"}, "db.intern1.example"),
        ({"PASSWORD": "order1"}, "order12, reorder1, order1_lines"),
    ],
)
def test_a_secret_that_is_a_part_of_a_longer_word_is_not_masked_there(
    environ: dict[str, str], text: str
) -> None:
    """Names from a URL, of any length, and all words if the secret is short."""
    assert text == Redactor(environ).text(text)


@pytest.mark.parametrize("before", ["", " ", "=", r"\n", r"\x00", "%2F", "\x1b[35m", "/", "'"])
def test_a_short_secret_is_masked_as_a_word(before: str) -> None:
    """An escape before it is not a part of the word."""
    redactor = Redactor({"DATABASE_URL": "postgres://u:shop1@h/shop1_live"})

    assert f"{before}***, shop1_live" == redactor.text(f"{before}shop1, shop1_live")


def test_a_text_to_keep_is_shown_unless_it_is_itself_a_secret() -> None:
    """The target of a run must be readable."""
    redactor = Redactor({"PASSWORD": "hunter2hunter2"})
    redactor.keep("hunter2hunter2@staging", "hunter2hunter2")

    assert "hunter2hunter2@staging ***" == redactor.text("hunter2hunter2@staging hunter2hunter2")


def test_data_is_masked_by_key_and_by_value() -> None:
    """Nested mappings and lists too. Numbers and None are unchanged."""
    redactor = Redactor()
    redactor.add(SECRET)

    masked = redactor.data(
        {"password": "x", "rows": [{"note": f"is {SECRET}"}, 3, None], "token": ""}
    )

    assert {"password": MASK, "rows": [{"note": f"is {MASK}"}, 3, None], "token": ""} == masked


def test_the_failing_row_in_a_postgresql_error_is_masked() -> None:
    """A constraint error contains the entire row, including hashes."""
    text = "null value\nDETAIL:  Failing row contains (1, ada, $argon2id$v=19$abc, null)."

    assert "null value\nDETAIL:  Failing row contains (***)" == Redactor().text(text)


@pytest.mark.parametrize(
    "name", ["PASSWORD", "db_password_2", "api-key", "SECRET_KEY_BASE", "authToken", "STRIPE_KEY"]
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    """In any case and with any separators."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "HOME username PASSWORD_MIN_LENGTH passenger monkey MONKEY primary_key PWD compass".split(),
)
def test_similar_names_are_not_secrets(name: str) -> None:
    """A word may contain the same letters."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    "part",
    ["x", "ab-", "://a:", "http://u:p@", 'password="', "Failing row contains (", "--a ", "secret ",
     "('password', '", "password1", "Bearer ", "_a", "_" + "Ab1" * 40],
)  # fmt: skip
def test_the_time_is_proportional_to_the_length(part: str) -> None:
    """A text of ten times the length takes about ten times as long."""
    short, long = (part * (size // len(part)) for size in (20_000, 200_000))

    assert _fastest(long) / _fastest(short) < 25


def _fastest(text: str) -> float:
    redactor, seconds = Redactor(), []
    for _ in range(3):
        started = process_time()
        redactor.text(text)
        seconds.append(process_time() - started)
    return min(seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("psql --password hunter2 shop", "psql --password *** shop"),
        ('["--token", "a b"]', '["--token", "***"]'),
        ("('password', 'x')", "('password', '***')"),
        (r'password="a\"b cret" x', 'password="***" x'),
        ("postgres://u:p/w@h/shop", "postgres://u:***@h/shop"),
        ("redis://:a@h1:1,redis://:b@h2", "redis://:***@h1:1,redis://:***@h2"),
        ("STRIPE_KEY=sk_1", "STRIPE_KEY=***"),
        ("Failing row contains (1, ada", "Failing row contains (***)"),
    ],
)
def test_only_the_secret_is_masked(text: str, expected: str) -> None:
    """The text around it helps the operator to find the cause."""
    assert expected == Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "error[invalid-token]: no such thing",
        "PWD=/home/ada",
        "PASSWORD_MIN_LENGTH=12",
        "monkey=1, primary_key=2",
        "postgres://user:password@host/shop",
        "http://localhost:8000/users/ada@example.com",
        "--password is missing, and there is no terminal to ask at",
        "pass it on standard input with --password-stdin",
        "password   changed_at\n--------   ----------",
    ],
)
def test_texts_that_resemble_secrets_are_not_masked(text: str) -> None:
    """Advice, tables and similar names."""
    assert text == Redactor().text(text)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DATABASE_URL", "postgres://h/shop?user=u&password=tOps3cret", "tOps3cret"),
        ("DATABASE_URL", "postgres://u:tOp/s3cret@h/shop", "tOp/s3cret"),
        ("CACHES", "redis://:f1rst@h1,redis://:s3cond@h2", "s3cond"),
        ("CACHES", "redis://:f1rst@h1,:s3cond@h2", "s3cond"),
        ("DATABASE_URL", "postgres://u:tOps3cret@h/shop?mail=ada@h", "tOps3cret"),
        ("ENCRYPTION_KEY", "tOps3cret", "tOps3cret"),
        ("SENTRY_DSN", "https://0123abcd@o1.example.com/1", "0123abcd"),
    ],
)
def test_secrets_in_variables_are_masked(name: str, value: str, secret: str) -> None:
    """In any part of a URL."""
    assert "is ***!" == Redactor({name: value}).text(f"is {secret}!")


def test_keys_and_objects_in_data_are_masked_too() -> None:
    """A key or an exception may contain a secret as well."""
    redactor = Redactor()
    redactor.add(SECRET)

    assert {MASK: MASK} == redactor.data({SECRET: ValueError(SECRET)})


def test_invalid_characters_are_escaped() -> None:
    """Bytes that are not UTF-8, and NUL, which PostgreSQL refuses."""
    assert r"a\udcffb\x00é" == Redactor().text("a\udcffb\0é")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_***"),
        ("a shop_4Tf9sKq2_IMXnuov6xCK8uW22WZfRwAcv6Cy1T1GrlU5pgf98 b", "a shop_4Tf9sKq2_*** b"),
        ("sha256_" + "0123456789abcdef" * 4, "sha256_" + "0123456789abcdef" * 4),
        ("test_that_a_long_name_of_a_test_is_no_token_2", None),
        ("SOME_CONSTANTWITHAVERYLONGNAMEANDNODIGITATALLINIT", None),
    ],
)
def test_access_tokens_are_masked(text: str, expected: str | None) -> None:
    """Their prefix is kept. Hashes and long names are not masked."""
    assert (text if expected is None else expected) == Redactor().text(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password='correct horse battery", "password='***'"),
        ("password=b'secret pw'", "password='***'"),
        ("password='corr…\npassword='other' y", "password='***'\npassword='***' y"),
        ("tokens=['a b', 'c d']", "tokens=***"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln y", "x *** y"),
        ("redis://s3cret@host:1/0", "redis://***@host:1/0"),
        ("--password 'a b", "--password '***'"),
        ("SECRET_KEY: has fewer than 32 characters", "SECRET_KEY: has fewer than 32 characters"),
        ("max_tokens=100, opinion: yes", "max_tokens=100, opinion: yes"),
    ],
)
def test_a_secret_without_its_closing_quote_is_masked(text: str, expected: str) -> None:
    """Up to the end of the line. Sentences and counts are not masked."""
    assert expected == Redactor().text(text)


def test_a_secret_of_any_type_is_masked_by_its_name() -> None:
    """Numbers, lists and mappings too. A number with a plural name is a count."""
    masked = Redactor().data(
        {"password": 987, "tokens": ["a"], "api_key": {"v": 1}, "SESSION": b"x"}
    )

    assert dict.fromkeys(("password", "tokens", "api_key", "SESSION"), MASK) == masked
    assert {"max_tokens": 100} == Redactor().data({"max_tokens": 100})


def test_a_secret_in_a_word_of_a_command_line_is_masked_to_its_end() -> None:
    """Spaces do not end it."""
    assert "password=***" == Redactor().word("password=correct horse")
