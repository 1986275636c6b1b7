"""REDIS_URL, as platforms hand it out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.config.redis_url import RedisURL, parse_redis_url, redis_url
from oneoff.config.settings import load_config
from oneoff.core.errors import ConfigurationError

RAW = "p@ss/w:rd?#%[é"  # a password as it is, not percent-encoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://localhost", RedisURL("localhost")),
        ("redis://localhost:6380/3", RedisURL("localhost", 6380, 3)),
        ("redis://localhost?db=2", RedisURL("localhost", db=2)),
        ("rediss://:secret@cache.example.com", RedisURL("cache.example.com", tls=True)),
        ("valkey://user:secret@localhost", RedisURL("localhost", user="user")),
        ("valkeys://localhost/", RedisURL("localhost", tls=True)),
        ("REDIS://LocalHost", RedisURL("localhost")),
        ("redis://[::1]:6379/0", RedisURL("::1")),
        ("  redis://localhost\n", RedisURL("localhost")),
    ],
)
def test_it_is_read_into_parts(text: str, expected: RedisURL) -> None:
    """The password aside, which the next test is about."""
    assert expected == parse_redis_url(text)._replace(password="")


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_any_password_survives_its_encoding(password: str) -> None:
    """And is shown nowhere."""
    try:
        text = quote(password, safe="")
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    url = parse_redis_url(f"redis://ada:{text}@localhost/1")

    assert (password, "ada", 1) == (url.password, url.user, url.db)
    assert "redis://ada:***@localhost:6379/1" == url.safe()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("localhost:6379", "it doesn't begin with redis:// or rediss://"),
        ("http://localhost", "it doesn't begin with redis:// or rediss://"),
        ("redis:///0", "it names no host"),
        ("redis://localhost/one", "what follows the host is not the number of a database"),
        ("redis://localhost:port", "its host and port can't be read"),
        ("redis://localhost?ssl_cert_reqs=none", "unknown parameter ssl_cert_reqs after '?'"),
    ],
)
def test_what_can_not_be_used_says_why(text: str, problem: str) -> None:
    """As a matter of configuration, 78."""
    with pytest.raises(ConfigurationError, match="REDIS_URL can't be used: ") as refused:
        parse_redis_url(text)

    assert problem in refused.value.message
    assert "bad-redis-url" == refused.value.code


@given(st.text())
def test_no_text_leads_to_a_traceback(text: str) -> None:
    """It is read, or refused in our words."""
    try:
        assert parse_redis_url(text).host
    except ConfigurationError as exc:
        assert "bad-redis-url" == exc.code  # noqa: PT017 - most texts are refused


@pytest.mark.parametrize("raw", [f"redis://:{RAW}@localhost/0", f"redis://{RAW}:1/x"])
def test_a_password_that_is_not_encoded_is_never_repeated(raw: str) -> None:
    """Whatever of it ends up in the wrong part."""
    try:
        shown = repr(parse_redis_url(raw))
    except ConfigurationError as exc:
        shown = f"{exc.message} {exc.why} {exc.try_}"

    assert "p@ss" not in shown
    assert "w:rd" not in shown


def test_the_name_is_what_an_operator_types() -> None:
    """The port only where it is not the usual one."""
    assert "localhost/0" == parse_redis_url("redis://localhost").name
    assert "localhost:6380/1" == parse_redis_url("redis://:x@localhost:6380/1").name


def test_the_settings_beside_it_count(tmp_path: Path) -> None:
    """Timeout and certificates have settings of their own."""
    environ = {
        "REDIS_URL": "rediss://localhost",
        "REDIS_TIMEOUT": "2.5",
        "REDIS_VERIFY_CERTIFICATE": "false",
    }

    url = redis_url(load_config(tmp_path, environ))

    assert (2.5, False, True) == (url.timeout, url.verify, url.tls)


def test_unset_it_says_what_to_set(tmp_path: Path) -> None:
    """There is no embedded Redis."""
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set") as refused:
        redis_url(load_config(tmp_path, {}))

    assert "redis-not-configured" == refused.value.code
