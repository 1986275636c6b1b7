"""Parameters of a URL have their effect on connections: certificates, settings, keepalives."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oneoff.config.database_url import parse_database_url
from oneoff.core.errors import CommandError
from oneoff.database.engine import Database
from tests.support.servers import Postgres, running_postgres
from tests.support.servers.process import hand_over
from tests.support.servers.programs import find_program

ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
PREPARED = "SELECT count(*) FROM pg_prepared_statements"


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Postgres]:
    """Run a server that speaks TLS, with a certificate for its address that it signed itself."""
    with running_postgres() as server:
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=db"
        more = "-addext subjectAltName=IP:127.0.0.1"
        certificate, key = server.folder / "tls.crt", server.folder / "tls.key"
        files = ("-out", certificate, "-keyout", key)
        subprocess.run(
            [find_program("openssl"), *make.split(), *more.split(), *files],
            check=True,
            capture_output=True,
        )
        for file in (certificate, key):
            hand_over(file)
        server.psql(
            f"ALTER SYSTEM SET ssl_cert_file = '{certificate}'; "
            f"ALTER SYSTEM SET ssl_key_file = '{key}'; ALTER SYSTEM SET ssl = on"
        )
        server.restart("fast")
        yield server


async def value(url: str, sql: str, **options: Any) -> object:
    """Return the value of one statement."""
    database = Database(parse_database_url(url, Path(), "shop"), run_id="test")
    try:
        async with database.connect(**options) as connection:
            return (await connection.exec_driver_sql(sql)).scalar_one()
    finally:
        await database.dispose()


@pytest.mark.parametrize("query", ["sslrootcert=system", "sslmode=verify-full&sslrootcert=system"])
async def test_the_certificates_that_the_system_trusts_are_used(
    tls_server: Postgres, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """OpenSSL finds them; SSL_CERT_FILE replaces its own file."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.folder / "tls.crt"))

    assert await value(f"{tls_server.url('postgres')}?{query}", ENCRYPTED) is True


@pytest.mark.parametrize(
    ("trusted", "host"), [(False, "127.0.0.1"), (True, "localhost")], ids=["unknown", "other name"]
)
async def test_a_server_that_the_system_does_not_trust_is_refused(
    tls_server: Postgres, monkeypatch: pytest.MonkeyPatch, *, trusted: bool, host: str
) -> None:
    """Nor is one with a certificate for another name trusted."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.folder / "tls.crt"))
    url = tls_server.url("postgres").replace("127.0.0.1", host)

    with pytest.raises(CommandError) as caught:
        await value(f"{url}?sslrootcert=system", ENCRYPTED)

    assert ("bad-tls", 78) == (caught.value.code, caught.value.exit_code)


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl"])
async def test_a_missing_file_is_named(tls_server: Postgres, tmp_path: Path, name: str) -> None:
    """It is no problem of the server."""
    files = {"sslrootcert": tls_server.folder / "tls.crt", "sslcert": tls_server.folder / "tls.crt"}
    files[name] = tmp_path / "missing.pem"
    query = "&".join(f"{key}={path}" for key, path in files.items())

    with pytest.raises(CommandError) as caught:
        await value(f"{tls_server.url('postgres')}?sslmode=verify-full&{query}", ENCRYPTED)

    assert ("bad-tls", 78) == (caught.value.code, caught.value.exit_code)
    assert f"{tmp_path}/missing.pem of {name} can't be used: no such file" in caught.value.message


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sslmode=require&sslcrl={ca}", "sslcrl would have no effect with sslmode=require"),
        ("sslrootcert={ca}", "sslrootcert would have no effect with sslmode=prefer"),
        ("sslmode=allow&sslrootcert={ca}&sslcrl={ca}", "sslcrl, sslrootcert would have no effect"),
        ("sslmode=disable&sslcert={ca}&sslkey={ca}", "sslcert, sslkey would have no effect"),
        ("sslmode=disable&ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version would have"),
        ("sslmode=require&sslkey={ca}", "sslkey would have no effect with sslmode=require: no"),
    ],
)
async def test_a_tls_parameter_without_effect_is_refused(
    tls_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, query: str, named: str
) -> None:
    """Someone relies on it. The driver would ignore it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    query = query.format(ca=tls_server.folder / "tls.crt")

    with pytest.raises(CommandError, match=named) as caught:
        await value(f"{tls_server.url('postgres')}?{query}", ENCRYPTED)

    assert ("bad-tls", 78) == (caught.value.code, caught.value.exit_code)


@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("PGSSLCRL={ca}", "sslcrl would have no effect with sslmode=require"),
        ("PGCHANNELBINDING=require", "PGCHANNELBINDING: channel_binding=require: the driver"),
        ("PGGSSENCMODE=require", "PGGSSENCMODE: gssencmode=require: the driver asyncpg has"),
    ],
)
async def test_a_variable_that_protects_and_would_be_ignored_is_refused(
    tls_server: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    named: str,
) -> None:
    """The URL replaces the variable, as for libpq. Without encryption, there is no certificate."""
    monkeypatch.setenv("HOME", str(tmp_path))
    name, _, text = variable.partition("=")
    monkeypatch.setenv(name, text.format(ca=tls_server.folder / "tls.crt"))
    url = tls_server.url("postgres")

    with pytest.raises(CommandError, match=named) as caught:
        await value(f"{url}?sslmode=require", "SELECT 1")

    assert ("bad-tls", 78) == (caught.value.code, caught.value.exit_code)
    accepted = "sslmode=disable&channel_binding=prefer&gssencmode=disable"
    assert 1 == await value(f"{url}?{accepted}", "SELECT 1")


async def test_revoked_certificates_of_a_variable_are_checked_with_those_of_the_system(
    tls_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file has no list, so the check finds none for the server's certificate."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.folder / "tls.crt"))
    monkeypatch.setenv("PGSSLCRL", str(tls_server.folder / "tls.crt"))

    with pytest.raises(CommandError, match="CRL"):
        await value(f"{tls_server.url('postgres')}?sslrootcert=system", ENCRYPTED)


async def test_tls_parameters_that_have_an_effect_are_accepted(
    tls_server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The mode and the certificate may also come from where the driver looks for them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    certificate, url = tls_server.folder / "tls.crt", tls_server.url("postgres")
    versions = "ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.3"

    assert await value(f"{url}?sslmode=require&sslrootcert={certificate}", ENCRYPTED) is True
    assert await value(f"{url}?{versions}", ENCRYPTED) is True
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert await value(f"{url}?sslrootcert={certificate}", ENCRYPTED) is True


async def test_a_file_without_a_certificate_is_named(tls_server: Postgres, tmp_path: Path) -> None:
    """The TLS library only says that it found none."""
    (tmp_path / "ca.pem").write_text("no certificate\n")
    url = f"{tls_server.url('postgres')}?sslmode=verify-full&sslrootcert={tmp_path}/ca.pem"

    with pytest.raises(CommandError, match=r"ca\.pem of sslrootcert can't be used: it contains no"):
        await value(url, ENCRYPTED)


@pytest.mark.parametrize(
    ("query", "setting", "expected"),
    [
        ("schema=Crm", "search_path", '"Crm"'),
        ("search_path=crm, public", "search_path", "crm, public"),
        ("statement_timeout=5000&options=-c%20lock_timeout=7s", "statement_timeout", "5s"),
        ("statement_timeout=5000&options=-c%20lock_timeout=7s", "lock_timeout", "7s"),
        ("client_encoding=UTF-8&keepalives=1", "client_encoding", "UTF8"),
    ],
)
async def test_settings_of_other_clients_have_their_effect(
    postgres_url: str, query: str, setting: str, expected: str
) -> None:
    """They are options of the connection."""
    assert expected == await value(f"{postgres_url}?{query}", f"SHOW {setting}")


async def test_an_address_replaces_the_lookup_of_the_host(postgres_url: str) -> None:
    """As for libpq."""
    url = postgres_url.replace("127.0.0.1", "no-such-host.invalid")

    assert 1 == await value(f"{url}?hostaddr=127.0.0.1", "SELECT 1")


@pytest.mark.parametrize("query", ["prepared_statement_cache_size=0", "pgbouncer=true"])
async def test_statements_are_not_kept_prepared_if_the_url_says_so(
    postgres_url: str, query: str
) -> None:
    """Without the parameter, batches keep them."""
    kept = await value(postgres_url, PREPARED, prepares=True)

    assert kept
    assert 0 == await value(f"{postgres_url}?{query}", PREPARED, prepares=True)


async def test_keepalives_are_set_on_the_socket(postgres_url: str) -> None:
    """By the names and units of libpq."""
    url = f"{postgres_url}?keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=4"
    database = Database(parse_database_url(url, Path(), "shop"), run_id="test")
    async with database.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        used = driver._transport.get_extra_info("socket")
        read = [
            used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        ]
    await database.dispose()

    assert [1, 30, 5, 4] == read
