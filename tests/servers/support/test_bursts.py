"""The count of round trips: what a client sends until the server answers is one burst."""

from __future__ import annotations

import asyncio
import struct

import asyncpg

from tests.support.bursts import FarProxy, far
from tests.support.bursts.wire import Reader
from tests.support.servers import Postgres

START = ["SSLRequest", "Startup", "Password", "Password"]


def message(kind: bytes, body: bytes) -> bytes:
    """Return a message as a client sends it."""
    return kind + struct.pack("!i", len(body) + 4) + body


async def use(proxy: FarProxy, url: str) -> None:
    """Run a text and a prepared statement on a connection of its own."""
    connection = await asyncpg.connect(proxy.url(url))
    await connection.execute("SELECT 1; SELECT 2")
    await connection.fetchval("SELECT $1::int", 3)
    await connection.close()


async def test_each_answer_of_the_server_ends_a_burst(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """Closing is a burst too, because asyncpg waits until the server has closed."""
    with far(postgres_server.port) as proxy, proxy.record() as trace:
        await use(proxy, postgres_url)

    (connection,) = trace.connections
    shown = [" | ".join(map(str, burst.messages)) for burst in connection.bursts]
    assert [
        *START,
        "Query SELECT 1; SELECT 2",
        "Parse SELECT $1::int | Describe | Flush",
        "Bind SELECT $1::int | Execute | Sync",
        "Terminate",
    ] == shown
    assert 6 == trace.count  # a login depends on the server
    assert 6 == trace.waits


async def test_connections_that_are_used_together_wait_together(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """Two connections have twice the bursts, and the operator does not wait longer."""
    with far(postgres_server.port, 0.25) as proxy, proxy.record() as trace:
        await asyncio.gather(use(proxy, postgres_url), use(proxy, postgres_url))

    assert (12, 6) == (trace.count, trace.waits)


async def test_a_client_that_does_not_wait_for_the_last_answer_has_one_burst_less(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """With psql, a connection ends at once."""
    with far(postgres_server.port, 0.25) as proxy, proxy.record() as trace:
        psql = [str(postgres_server.bin / "psql"), proxy.url(postgres_url), "-Xc", "SELECT 1"]
        process = await asyncio.create_subprocess_exec(*psql, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()

    assert [*START, "Query SELECT 1"] == [str(burst.messages[0]) for burst in trace.bursts]


def test_messages_are_read_in_pieces_of_any_size() -> None:
    """A message belongs to the piece with its last byte."""
    start = struct.pack("!ii", 8, 196608)
    parse = message(b"P", b"one\0SELECT  1\n FROM item\0\0\0")
    bind = message(b"B", b"\0one\0")
    sent = start + parse + bind

    read = Reader()
    pieces = [str(one) for byte in sent for one in read.read(bytes([byte]))]

    assert ["Startup", "Parse SELECT 1 FROM item", "Bind SELECT 1 FROM item"] == pieces
    assert pieces == [str(one) for one in Reader().read(sent)]


def test_nothing_is_read_after_the_server_agreed_to_tls() -> None:
    """After a refusal, the messages are readable."""
    start, request = struct.pack("!ii", 8, 196608), struct.pack("!ii", 8, 80877103)
    found = []
    for answer in (b"S", b"N"):
        read = Reader()
        read.read(request)
        read.answer(answer)
        found.append([str(one) for one in read.read(start)])

    assert [[], ["Startup"]] == found
