"""A process that has imported what commands import, and forks one process for each request.

A process of a command starts in a tenth of the time. It ends as any process does, with the shutdown
of the interpreter. Each request is one line of JSON with file descriptors for the two streams.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any

LARGEST = 65_536  # bytes of a request


def serve(channel: socket.socket) -> None:
    """Fork a process for each request; return in the new process only."""
    while True:
        data, streams, _, _ = socket.recv_fds(channel, LARGEST, 2)
        if not data:
            raise SystemExit
        child = os.fork()
        if child == 0:
            channel.close()
            _become(json.loads(data), streams)
            return
        for stream in streams:
            os.close(stream)
        channel.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        channel.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(request: dict[str, Any], streams: list[int]) -> None:
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv[:] = ["manage.py", *request["words"]]
    sys.path[0] = request["cwd"]
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    source, sink = os.pipe()  # standard input
    os.write(sink, request["stdin"].encode())
    os.close(sink)
    os.dup2(source, 0)
    os.close(source)
    # New objects, because Python could not seek in the old streams as it expects.
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - until the exit
    if request["closed"]:
        os.close(1)
        sys.stdout = None  # as Python does after `>&-`
    else:
        sys.stdout = open(1, "w", encoding=request["encoding"])  # noqa: SIM115
    if request["fails_to_close"]:
        _let_closing_fail()


def _let_closing_fail() -> None:
    """Add a resource to each run that can't be closed; it is closed first."""
    from oneoff.runtime.container import Container
    from oneoff.runtime.executor import Execution

    original = Execution._open

    async def fail() -> None:
        raise ValueError("can't be closed")

    async def opened(self: Execution, container: Container) -> dict[str, Any]:
        found = await original(self, container)
        container._stack.push_async_callback(fail)
        return found

    Execution._open = opened  # type: ignore[method-assign]


def _import_all() -> None:
    import asyncpg  # noqa: F401
    import pydantic_settings  # noqa: F401
    import redis.asyncio  # noqa: F401
    import sqlalchemy.dialects.postgresql.asyncpg
    import sqlalchemy.ext.asyncio  # noqa: F401
    import structlog  # noqa: F401

    import oneoff.cli.dispatch
    import oneoff.cli.reply
    import oneoff.runtime.executor  # noqa: F401


if __name__ == "__main__":
    _import_all()
    serve(socket.socket(fileno=int(sys.argv[1])))
    # oneoff finds the root of the project in the folder, as with `python -c`.
    del sys.modules["__main__"].__file__
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from oneoff.cli import main
    from oneoff.runtime import signals

    signals.GRACE_SECONDS = 4
    raise SystemExit(main("app.project:project"))
