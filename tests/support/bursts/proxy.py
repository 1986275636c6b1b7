"""Count how often a client of PostgreSQL waits for the server, with a proxy that adds a distance.

A burst is what a client sends until the server answers. Each burst costs one round trip, however
many messages it contains.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.bursts.wire import Message, Reader
from tests.support.servers.process import HOST
from tests.support.servers.proxy import CHUNK, Proxy

HANDSHAKE = frozenset({"SSLRequest", "GSSENCRequest", "Startup", "Password"})


@dataclass
class Burst:
    """What a client sent until the server answered.

    Attributes:
        sent: When its first bytes were sent, by the monotonic clock.
        messages: Its messages; empty if they are encrypted.
        answered: When the answer reached the client; None if the client did not wait for it.
    """

    sent: float
    messages: list[Message] = field(default_factory=list)
    answered: float | None = None

    @property
    def handshake(self) -> bool:
        """Whether it belongs to the start of the connection."""
        return bool(self.messages) and self.messages[0].name in HANDSHAKE

    @property
    def login(self) -> bool:
        """Whether it answers the server's demand for a password."""
        return bool(self.messages) and self.messages[0].name == "Password"


@dataclass
class Connection:
    """One connection through the proxy.

    Attributes:
        sent: All bursts, in order.
    """

    sent: list[Burst] = field(default_factory=list)

    @property
    def bursts(self) -> list[Burst]:
        """The bursts whose answer the client waited for."""
        return [burst for burst in self.sent if burst.answered is not None]


@dataclass
class Trace:
    """The connections of a command, in the order in which they were opened."""

    connections: list[Connection] = field(default_factory=list)

    @property
    def bursts(self) -> list[Burst]:
        """The bursts of all connections, in the order in which they were sent."""
        found = [burst for connection in self.connections for burst in connection.bursts]
        return sorted(found, key=lambda burst: burst.sent)

    @property
    def count(self) -> int:
        """The number of bursts without those of a login, which depend on the server's settings."""
        return sum(not burst.login for burst in self.bursts)

    @property
    def waits(self) -> int:
        """The number of bursts that waited one after the other, over all connections.

        It is smaller than `count` if two connections were used at the same time. It is only exact
        if the distance is much larger than the time that the client computes.
        """
        steps: list[tuple[float, int]] = []  # when each burst was answered, and its step
        for burst in self.bursts:
            assert burst.answered is not None
            before = [step for answered, step in steps if answered <= burst.sent]
            steps.append((burst.answered, max(before, default=0) + (not burst.login)))
        return max((step for _, step in steps), default=0)


class FarProxy(Proxy):
    """A proxy that adds a distance to the server, and records the bursts.

    Bytes in both directions arrive half a round trip later, but never wait for each other. A new
    connection waits one round trip longer, because TCP connects with one.

    Args:
        target: Port of the server on this machine.
        round_trip: Seconds.

    Attributes:
        trace: The connections since the last `record`.
    """

    def __init__(self, target: int, round_trip: float = 0.0) -> None:
        super().__init__(target)
        self.round_trip = round_trip
        self.trace = Trace()

    @contextmanager
    def record(self) -> Iterator[Trace]:
        """Record the connections that are opened until the end of the block."""
        self.trace = Trace()
        yield self.trace

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection, opened = Connection(), time.monotonic()
        self.trace.connections.append(connection)
        messages = Reader()
        from_server, to_server = await asyncio.open_connection(HOST, self.target)
        pair = writer, to_server
        self._pairs.add(pair)

        def sends(chunk: bytes) -> None:
            bursts, now = connection.sent, time.monotonic()
            if chunk and (not bursts or bursts[-1].answered is not None):
                bursts.append(Burst(now))
            bursts[-1].messages += messages.read(chunk)

        def answers(chunk: bytes) -> None:
            # After the client left it waits for nothing. What it sends when an encrypted connection
            # ends is a goodbye of TLS.
            if reader.at_eof() or (messages.encrypted and not chunk):
                return
            if connection.sent and connection.sent[-1].answered is None:
                connection.sent[-1].answered = time.monotonic()
                messages.answer(chunk)

        nothing: Callable[[bytes], None] = lambda _chunk: None  # noqa: E731
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._carry(reader, to_server, opened + self.round_trip, sends, nothing),
                self._carry(from_server, writer, opened, nothing, answers),
            )
        self._pairs.discard(pair)
        for end in pair:
            end.close()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        earliest: float,
        leaves: Callable[[bytes], None],
        arrives: Callable[[bytes], None],
    ) -> None:
        """Pass the bytes of one direction, each half a round trip later."""
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            chunk = b"-"
            while chunk:
                due, chunk = await underway.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                arrives(chunk)
                if chunk:
                    writer.write(chunk)
                elif writer.can_write_eof():
                    writer.write_eof()

        delivery = asyncio.create_task(deliver())
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                leaves(chunk)
                due = max(earliest, time.monotonic()) + self.round_trip / 2
                underway.put_nowait((due, chunk))
        underway.put_nowait((time.monotonic() + self.round_trip / 2, b""))
        with suppress(OSError):
            await delivery


@contextmanager
def far(port: int, round_trip: float = 0.0) -> Iterator[FarProxy]:
    """Run a proxy in front of a server until the end of the block; `round_trip` is in seconds."""
    proxy = FarProxy(port, round_trip)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
