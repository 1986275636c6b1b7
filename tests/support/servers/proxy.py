"""A proxy between a client and a server, which can be slow, reset connections, or stop passing.

It has its own thread and event loop, so that tests with and without an event loop can use it, and
other processes too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit

from tests.support.servers.process import HOST, free_port

CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST instead of FIN

Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Fate(Enum):
    """What happens to one message of a client, and to its answer."""

    PASS = "pass"  # noqa: S105 - not a password
    RESET = "reset"
    """It does not reach the server: all connections are reset instead."""
    LOSE_ANSWER = "lose answer"
    """It reaches the server, and all connections are reset when the answer arrives."""
    OUTAGE = "outage"
    """The same, and new connections are reset too."""
    HOLD = "hold"
    """It waits for `HOLD` seconds."""
    HOLD_ANSWER = "hold answer"
    """It reaches the server, and the answer waits for `HOLD` seconds."""


_ON_MESSAGE, _ON_ANSWER = (Fate.RESET,), (Fate.LOSE_ANSWER, Fate.OUTAGE)
HOLD = 1.2
"""Seconds that a message is held: longer than the deadline of the run that sent it."""


class Proxy:
    """Passes bytes between its own port and a server's port, until a method disturbs that.

    A disturbance applies to open and new connections, until `heal`.

    Args:
        target: Port of the server on this machine.

    Attributes:
        port: The port for clients.
        connections: Number of connections that were opened so far.
    """

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self.connections = 0
        self._seconds, self._down = 0.0, False
        self._decide: Callable[[bytes], Fate] = lambda _message: Fate.PASS
        self._passing = asyncio.Event()
        self._passing.set()
        self._pairs: set[Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)

    def url(self, url: str) -> str:
        """Return the server's URL with the address of the proxy."""
        parts = urlsplit(url)
        return url.replace(f"{parts.hostname}:{parts.port}", f"{HOST}:{self.port}", 1)

    def delay(self, seconds: float) -> None:
        """Delay each answer of the server by this time from now on."""
        self._seconds = seconds

    def decide(self, decide: Callable[[bytes], Fate]) -> None:
        """Call a function with each message of a client, to decide what happens to it."""
        self._decide = decide

    def half_open(self) -> None:
        """Stop passing bytes, and close nothing, as if a cable was unplugged."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def cut(self) -> None:
        """Reset the open connections; new ones work."""
        self._call(self._reset)

    def refuse(self) -> None:
        """Reset the open connections, and each new one."""
        self._down = True
        self.cut()

    def heal(self) -> None:
        """Pass bytes without disturbance again, on new connections and on silent ones."""
        self._seconds, self._down = 0.0, False
        self._loop.call_soon_threadsafe(self._passing.set)

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()
        self._call(self._listen)

    def stop(self) -> None:
        """Reset the open connections, and stop listening."""
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Callable[[], Awaitable[None]]) -> None:
        async def do() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def _close(self) -> None:
        self._server.close()
        await self._reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                _abort(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._down:
            _abort(writer)
            return
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self.target)
        except OSError:  # the server does not run
            _abort(writer)
            return
        pair = writer, to_server
        self._pairs.add(pair)
        fates: list[Fate] = []  # of messages whose answer has not arrived
        # `stop` cancels the tasks that still wait, which asyncio would report as an error.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pass(reader, to_server, fates),
                self._pass(from_server, writer, fates, answers=True),
            )
        self._pairs.discard(pair)
        for end in pair:
            end.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fates: list[Fate],
        *,
        answers: bool = False,
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if answers and self._seconds:
                    await asyncio.sleep(self._seconds)
                if not answers:
                    fates[:] = [self._decide(chunk)]
                fate = fates[0] if fates else Fate.PASS
                if fate in (_ON_ANSWER if answers else _ON_MESSAGE):
                    self._down = self._down or fate is Fate.OUTAGE
                    await self._reset()
                    return
                if fate is (Fate.HOLD_ANSWER if answers else Fate.HOLD):
                    await asyncio.sleep(HOLD)
                await self._passing.wait()
                writer.write(chunk)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    with suppress(OSError):
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    """Run a proxy in front of a server until the end of the block."""
    proxy = Proxy(port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
