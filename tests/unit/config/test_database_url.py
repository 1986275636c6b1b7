"""Database URLs as platforms provide them."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneoff.config.database_url import DatabaseURL, parse_database_url
from oneoff.core.errors import ConfigurationError

ROOT = Path("/srv/shop")


def parse(text: str) -> DatabaseURL:
    """Parse as a project named "shop" in ROOT does."""
    return parse_database_url(text, ROOT, "shop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgres://ada:p%40ss@db.example.com:6432/shop",
            DatabaseURL("postgresql", "db.example.com", 6432, "ada", "p@ss", "shop"),
        ),
        ("postgresql://db/shop", DatabaseURL("postgresql", "db", database="shop")),
        ("postgresql+asyncpg://db/shop", DatabaseURL("postgresql", "db", database="shop")),
        ("postgresql+psycopg://db/shop", DatabaseURL("postgresql", "db", database="shop")),
        ("  POSTGRES://db/shop\n", DatabaseURL("postgresql", "db", database="shop")),
        ("postgres:///shop", DatabaseURL("postgresql", database="shop")),
        ("postgres://[::1]:5433/shop", DatabaseURL("postgresql", "::1", 5433, database="shop")),
        (
            "postgres://%2Fvar%2Frun%2FPG/shop",
            DatabaseURL("postgresql", "/var/run/PG", database="shop"),
        ),
        (
            "postgres:///?host=/var/run/PG&port=5433&user=ada&password=p%40ss&dbname=shop",
            DatabaseURL("postgresql", "/var/run/PG", 5433, "ada", "p@ss", "shop"),
        ),
        (
            "postgres://ada:50%off@db/my%20shop",
            DatabaseURL("postgresql", "db", None, "ada", "50%off", "my shop"),
        ),
        (
            "postgres://db/shop?sslmode=verify-full&sslrootcert=/ca.pem&application_name=web",
            DatabaseURL(
                "postgresql",
                "db",
                database="shop",
                query={"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
            ),
        ),
        (
            "postgres://db/shop?ssl=true&pgbouncer=true",
            DatabaseURL(
                "postgresql",
                "db",
                database="shop",
                query={"sslmode": "require", "prepared_statement_cache_size": "0"},
            ),
        ),
        ("", DatabaseURL("sqlite", database="/srv/shop/shop.sqlite3")),
        ("sqlite:///data/shop.db", DatabaseURL("sqlite", database="/srv/shop/data/shop.db")),
        ("sqlite:////data/shop.db", DatabaseURL("sqlite", database="/data/shop.db")),
        (
            "sqlite+aiosqlite:///shop.db?timeout=30",
            DatabaseURL("sqlite", database="/srv/shop/shop.db", query={"timeout": "30"}),
        ),
    ],
)
def test_all_common_spellings_of_a_url_are_parsed(text: str, expected: DatabaseURL) -> None:
    """Those of platforms, libpq and SQLAlchemy."""
    assert expected == parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shop", "it doesn't start with postgres:// or sqlite:///"),
        ("mysql://db/shop", "mysql:// is not supported"),
        ("postgres://db", "it names no database"),
        ("postgres://db/", "it names no database"),
        ("postgres://a:1,b:2/shop", "it names several hosts"),
        ("postgres://db/shop?sslmode=maybe", "sslmode is not one of disable, allow"),
        ("postgres://db/shop?colour=red&sise=1", "unknown parameter 'colour', 'sise'"),
        ("postgres://db/shop?connect_timeout=soon", "connect_timeout is not a number"),
        ("postgres://db:port/shop", "its host and port can't be read"),
        ("postgres://db:99999/shop", "its host and port can't be read"),
        ("postgres://[::1/shop", "its host and port can't be read"),
        ("sqlite://shop.db", "three slashes"),
        ("sqlite://", "a database in memory"),
        ("sqlite:///:memory:", "a database in memory"),
        ("sqlite:///shop.db?mode=ro", "unknown parameter 'mode'"),
    ],
)
def test_a_bad_url_is_a_configuration_error(text: str, problem: str) -> None:
    """The message contains the problem and the variable to correct."""
    with pytest.raises(
        ConfigurationError, match=r"^MIGRATION_DATABASE_URL can't be used: "
    ) as error:
        parse_database_url(text, ROOT, "shop", setting="MIGRATION_DATABASE_URL")

    assert problem in error.value.message
    assert "MIGRATION_DATABASE_URL" in error.value.try_[0]


@pytest.mark.parametrize(
    ("query", "problem", "parameter"),
    [
        ("pool_size=5", "pool_size has no meaning here: a run uses no connection pool", ""),
        ("service=shop", "service has no meaning here: only libpq reads service files", ""),
        ("client_encoding=latin1", "client_encoding can only be utf8", ""),
        ("keepalives_idle=long", "keepalives_idle is not a number", ""),
        ("sslmod=require", "unknown parameter 'sslmod' after '?'; did you mean sslmode?", ""),
        (
            "sslmode=require&sslrootcert=system",
            "sslrootcert=system needs sslmode=verify-full",
            "sslmode",
        ),
        (
            "sslrootcert=system&ssl_min_protocol_version=TLSv9",
            "ssl_min_protocol_version is not one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3",
            "ssl_min_protocol_version",
        ),
        ("hostaddr=10.0.0.1&sslmode=verify-full", "can't be used together", "hostaddr"),
    ],
)
def test_a_parameter_that_can_not_be_honoured_is_refused_by_its_name(
    query: str, problem: str, parameter: str
) -> None:
    """Percent-encoding is not the problem, and no parameter is ignored."""
    with pytest.raises(ConfigurationError) as error:
        parse(f"postgres://db/shop?{query}")

    name = parameter or query.partition("=")[0]
    assert problem in error.value.message
    assert (f"correct or remove {name} in DATABASE_URL",) == tuple(error.value.try_)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sslrootcert=system", {"sslrootcert": "system", "sslmode": "verify-full"}),
        ("schema=crm", {"options": '-c search_path="crm"'}),
        ("currentSchema=crm&options=-c%20a%3Db", {"options": '-c a=b -c search_path="crm"'}),
        ("search_path=crm, public", {"options": r"-c search_path=crm,\ public"}),
        ("statement_cache_size=0", {"prepared_statement_cache_size": "0"}),
        ("prepared_statements=false", {"prepared_statement_cache_size": "0"}),
        ("prepareThreshold=0", {"prepared_statement_cache_size": "0"}),
        ("pgbouncer=false", {}),
        ("timeout=5&ApplicationName=web", {"connect_timeout": "5"}),
        ("tcpKeepAlive=true", {"keepalives": "1"}),
        ("client_encoding=UTF8&encoding=unicode", {}),
    ],
)
def test_parameters_of_other_clients_are_translated(query: str, expected: dict[str, str]) -> None:
    """Application and commands share one URL."""
    assert expected == parse(f"postgres://db/shop?{query}").query


def test_an_address_goes_to_both_clients() -> None:
    """The client psql still checks certificates for the host."""
    url = parse("postgres://db/shop?hostaddr=10.0.0.1&keepalives=1")

    assert "10.0.0.1" == url.sqlalchemy().host
    assert {"PGHOST": "db", "PGDATABASE": "shop", "PGHOSTADDR": "10.0.0.1"} == url.libpq_environ()


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada:hun/ter2@db/shop",
        "postgres://ada:hun?ter2@db/shop",
        "postgres://ada:1?ter2=3@db/shop",
        "postgres://ada:hun[ter2@db/shop",
        "postgres://ada:hun@ter2:x@db/",
        "postgres://ada:ter2@db/shop?sslmode=ter2",
        "postgres://ada@db:5432/?password=ter2",
        "ter2",
    ],
)
def test_a_bad_url_never_shows_its_password(url: str) -> None:
    """Neither the message nor the traceback contains it."""
    with pytest.raises(ConfigurationError) as error:
        parse(url)

    assert "ter2" not in "".join(traceback.format_exception(error.value)).replace(url, "")


@given(
    user=st.text(min_size=1),
    password=st.text(min_size=1),
    name=st.text(st.characters(exclude_characters="/"), min_size=1),
)
def test_any_login_survives_percent_encoding(user: str, password: str, name: str) -> None:
    """A user and password encoded as in RFC 3986 are decoded unchanged."""
    from urllib.parse import quote

    try:
        encoded = [quote(part, safe="") for part in (user, password, name)]
    except UnicodeEncodeError:
        return
    url = parse(f"postgres://{encoded[0]}:{encoded[1]}@db/{encoded[2]}")

    assert (user, password, name) == (url.user, url.password, url.database)


@given(st.text())
def test_any_text_is_a_url_or_a_configuration_error(text: str) -> None:
    """No other exception is raised."""
    try:
        url = parse(text)
    except ConfigurationError:
        return
    assert url.dialect in ("postgresql", "sqlite")


def test_no_text_form_of_a_url_contains_the_password() -> None:
    """Logs and tracebacks contain *** instead."""
    url = parse("postgres://ada:hunter2@db:6432/shop?sslmode=require")

    assert "postgresql://ada:***@db:6432/shop?sslmode=require" == url.safe()
    assert "DatabaseURL('postgresql://ada:***@db:6432/shop?sslmode=require')" == repr(url)
    assert repr(url) == str(url) == f"{url}"


@pytest.mark.parametrize(
    ("text", "name"),
    [("postgres://db/shop", "shop"), ("", "shop"), ("sqlite:////data/my.shop.db", "my.shop")],
)
def test_the_name_is_the_part_that_operators_type(text: str, name: str) -> None:
    """For a file, it has no folder and no suffix."""
    assert name == parse(text).name


def test_exists_is_false_only_for_a_missing_sqlite_file(tmp_path: Path) -> None:
    """It is always true for a server."""
    url = parse_database_url("", tmp_path, "shop")
    before = url.exists()
    Path(url.database).touch()

    assert (False, True, True) == (before, url.exists(), parse("postgres://db/shop").exists())


def test_sqlalchemy_gets_a_url_for_the_async_driver() -> None:
    """The parameters are in `dsn`, where asyncpg accepts libpq's names."""
    url = parse("postgres://ada:p%40ss@db:6432/shop?sslmode=require&channel_binding=prefer")

    made = url.sqlalchemy()

    assert ("postgresql+asyncpg", "ada", "p@ss") == (made.drivername, made.username, made.password)
    assert ("db", 6432, "shop") == (made.host, made.port, made.database)
    assert {"dsn": "postgresql://?sslmode=require"} == dict(made.query)


def test_sqlalchemy_gets_the_sqlite_file() -> None:
    """The engine sets the wait for locks."""
    made = parse("sqlite:///shop.db?timeout=5").sqlalchemy()

    assert ("sqlite+aiosqlite", "/srv/shop/shop.db", {"timeout": "5"}) == (
        made.drivername,
        made.database,
        dict(made.query),
    )


def test_asyncpg_gets_its_arguments() -> None:
    """The driver chooses what the URL does not contain."""
    url = parse("postgres://ada:p%40ss@db/shop?sslmode=disable")

    assert {
        "host": "db",
        "user": "ada",
        "password": "p@ss",
        "database": "shop",
        "dsn": "postgresql://?sslmode=disable",
    } == url.asyncpg()


def test_psql_gets_environment_variables() -> None:
    """So the password is not on a command line."""
    url = parse("postgres://ada:p%40ss@db:6432/shop?sslmode=require&channel_binding=prefer")

    assert {
        "PGHOST": "db",
        "PGPORT": "6432",
        "PGUSER": "ada",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "shop",
        "PGSSLMODE": "require",
        "PGCHANNELBINDING": "prefer",
    } == url.libpq_environ()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("channel_binding=require", "the driver asyncpg has no channel binding"),
        ("gssencmode=require", "the driver asyncpg has no encryption by GSSAPI"),
        ("channel_binding=on", "channel_binding is not one of disable, prefer, require"),
    ],
)
def test_a_protection_that_the_driver_does_not_have_is_refused(query: str, problem: str) -> None:
    """It would be ignored, and somebody relies on it."""
    with pytest.raises(ConfigurationError, match=problem):
        parse(f"postgres://db/shop?{query}")
