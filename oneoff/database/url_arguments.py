"""Apply the parameters of a URL that asyncpg can't apply itself: certificates and keepalives."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

from oneoff.config.database_url import DatabaseURL
from oneoff.config.url_parameters import (
    CERTIFICATES,
    HANDSHAKES,
    KEEPALIVES,
    SYSTEM,
    TLS,
    VARIABLES,
    handshake_problem,
)
from oneoff.core.errors import ConfigurationError

_IN_HOME = {"sslrootcert": "~/.postgresql/root.crt", "sslcert": "~/.postgresql/postgresql.crt"}
_OPTIONS = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")


def system_context(url: DatabaseURL) -> ssl.SSLContext | None:
    """Return the TLS context for `sslrootcert=system`, or None for another URL.

    It trusts the certificates that the system trusts, and checks the name of the host.
    """
    if url.query.get("sslrootcert") != SYSTEM:
        return None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    for name, attribute in (("min", "minimum_version"), ("max", "maximum_version")):
        if version := _given(f"ssl_{name}_protocol_version", url):
            setattr(context, attribute, ssl.TLSVersion[version.replace(".", "_")])
    if revoked := _given("sslcrl", url):
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if certificate := _given("sslcert", url):
        context.load_cert_chain(certificate, _given("sslkey", url) or None)
    return context


def refuse_without_effect(url: DatabaseURL) -> None:
    """Refuse TLS parameters that the driver would ignore, such as revoked certificates.

    Of the variables of libpq, only those that protect a connection are refused: other programs on
    the machine may need the others.

    Raises:
        ConfigurationError: A parameter has no effect with the URL's `sslmode`, or with asyncpg.
    """
    for name in HANDSHAKES:
        if problem := handshake_problem(name, _given(name, url)):
            raise ConfigurationError(
                f"{VARIABLES[name]}: {problem}",
                try_=f"add {name}=prefer to the URL, if that is not needed here",
                code="bad-tls",
            )
    mode = _given("sslmode", url) or "prefer"
    checks = mode.startswith("verify") or (mode == "require" and _has("sslrootcert", url))
    not_checked = "the certificate of the server is not checked"
    for is_so, useless, why in (
        (mode == "disable", TLS - {"sslmode"}, "the connection is not encrypted"),
        (not checks, {"sslrootcert", "sslcrl"}, not_checked),
        (not _has("sslcert", url), {"sslkey"}, "no sslcert is given"),
    ):
        given = {name for name in useless if name in url.query}
        if mode != "disable" and "sslcrl" in useless and _given("sslcrl", url):
            given.add("sslcrl")
        if is_so and (names := ", ".join(sorted(given))):
            raise ConfigurationError(
                f"{names} would have no effect with sslmode={mode}: {why}",
                try_=(
                    "with sslmode=verify-full and sslrootcert the server's certificate is checked",
                    f"or remove {names} from the URL, or from the environment",
                ),
                code="bad-tls",
            )


def _has(name: str, url: DatabaseURL) -> bool:
    """Return whether the driver uses a certificate: of the URL, a variable, or the home folder."""
    return bool(_given(name, url)) or os.path.exists(os.path.expanduser(_IN_HOME[name]))


def _given(name: str, url: DatabaseURL) -> str:
    """Return a parameter of the URL, or libpq's variable for it."""
    return url.query.get(name) or os.environ.get(VARIABLES[name], "")


def check_certificates(url: DatabaseURL) -> None:
    """Check the files that the URL names, because errors of the TLS library don't name them.

    Raises:
        ConfigurationError: A file can't be read, or contains no certificate.
    """
    for name in CERTIFICATES:
        path = _given(name, url)
        if not path or (name, path) == ("sslrootcert", SYSTEM):
            continue
        try:
            with open(path, "rb"):
                pass
            if name in {"sslrootcert", "sslcrl"}:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            problem = "it contains no certificate"
        except OSError as exc:
            problem = str(exc.strerror).lower()
        else:
            continue
        raise ConfigurationError(
            f"the file {path} of {name} can't be used: {problem}",
            try_=f"correct {name} in the URL, or {VARIABLES[name]}",
            code="bad-tls",
        )


def keep_alive(connection: Any, url: DatabaseURL) -> None:
    """Set the options of the socket that `keepalives` and its relatives stand for.

    Args:
        connection: A connection of asyncpg, which offers no way to set them.
        url: The URL of the connection.
    """
    numbers = [url.query.get(name) for name in KEEPALIVES]
    transport = getattr(connection, "_transport", None)
    of_socket = transport.get_extra_info("socket") if transport and any(numbers) else None
    if of_socket is None or of_socket.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    of_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(numbers[0] != "0"))
    for option, number in zip(_OPTIONS, numbers[1:], strict=True):
        if number and hasattr(socket, option):
            of_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), int(number))
