"""REDIS_URL as platforms provide it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.config.redis_url import RedisURL, parse_redis_url, redis_url
from oneoff.config.settings import load_config
from oneoff.core.errors import ConfigurationError
from oneoff.core.project import Project

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
def test_a_url_is_parsed_into_its_parts(text: str, expected: RedisURL) -> None:
    """The next test is about the password."""
    assert expected == parse_redis_url(text)._replace(password="")


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_any_percent_encoded_password_is_decoded(password: str) -> None:
    """It is never shown."""
    try:
        text = quote(password, safe="")
    except UnicodeEncodeError:  # half of a surrogate pair can't be encoded
        return
    url = parse_redis_url(f"redis://ada:{text}@localhost/1")

    assert (password, "ada", 1) == (url.password, url.user, url.db)
    assert "redis://ada:***@localhost:6379/1" == url.safe()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("localhost:6379", "it doesn't start with redis:// or rediss://"),
        ("http://localhost", "it doesn't start with redis:// or rediss://"),
        ("redis:///0", "it names no host"),
        ("redis://localhost/one", "the text after the host is not the number of a database"),
        ("redis://localhost:port", "its host and port can't be read"),
        ("redis://localhost?ssl_cert_reqs=none", "unknown parameter ssl_cert_reqs after '?'"),
    ],
)
def test_the_error_for_an_unusable_url_contains_the_reason(text: str, problem: str) -> None:
    """The exit code is 78."""
    with pytest.raises(ConfigurationError, match="REDIS_URL can't be used: ") as refused:
        parse_redis_url(text)

    assert problem in refused.value.message
    assert "bad-redis-url" == refused.value.code


@given(st.text())
def test_any_text_is_a_url_or_a_configuration_error(text: str) -> None:
    """No other exception is raised."""
    try:
        assert parse_redis_url(text).host
    except ConfigurationError as exc:
        assert "bad-redis-url" == exc.code  # noqa: PT017 - most texts are refused


@pytest.mark.parametrize("raw", [f"redis://:{RAW}@localhost/0", f"redis://{RAW}:1/x"])
def test_a_password_that_is_not_encoded_is_never_repeated(raw: str) -> None:
    """Whichever part of the URL it is mistaken for."""
    try:
        shown = repr(parse_redis_url(raw))
    except ConfigurationError as exc:
        shown = f"{exc.message} {exc.why} {exc.try_}"

    assert "p@ss" not in shown
    assert "w:rd" not in shown


def test_the_name_is_the_part_that_operators_type() -> None:
    """It contains the port only if it is not the default."""
    assert "localhost/0" == parse_redis_url("redis://localhost").name
    assert "localhost:6380/1" == parse_redis_url("redis://:x@localhost:6380/1").name


def test_timeout_and_certificate_settings_are_used(tmp_path: Path) -> None:
    """They are separate variables."""
    environ = {
        "REDIS_URL": "rediss://localhost",
        "REDIS_TIMEOUT": "2.5",
        "REDIS_VERIFY_CERTIFICATE": "false",
    }

    url = redis_url(load_config(tmp_path, Project("shop"), environ))

    assert (2.5, False, True) == (url.timeout, url.verify, url.tls)


def test_an_unset_url_is_an_error_that_suggests_one(tmp_path: Path) -> None:
    """There is no embedded Redis to use instead."""
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set") as refused:
        redis_url(load_config(tmp_path, Project("shop"), {}))

    assert "redis-not-configured" == refused.value.code
