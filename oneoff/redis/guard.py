"""Refuse writes to Redis in a dry run or a read-only run.

The guard checks the bytes that a connection is about to send. Pipelines, transactions,
subscriptions, the nodes of a cluster, and other clients of the same pool all send through such
connections, so none of them bypasses the guard. If a command of a pipeline is refused, nothing of
the pipeline is sent.

The server reports which commands only read, so modules and newer versions are covered. A command
that the server does not flag as readonly counts as a write, unless it is in `HARMLESS`.

Only the runs that need this module import it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from redis.asyncio.connection import Connection

HARMLESS = frozenset(
    # Commands about the connection itself.
    b"auth hello ping echo select quit reset client|getname client|id client|info client|list "
    b"client|no-touch client|setinfo client|setname asking readonly readwrite "
    # The commands within a transaction are checked one by one.
    b"multi exec discard watch unwatch "
    b"subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe "
    # Queries about the server, which it does not flag as readonly; some it flags as admin.
    b"acl|cat acl|dryrun acl|getuser acl|list acl|users acl|whoami "
    b"cluster|countkeysinslot cluster|getkeysinslot cluster|info cluster|keyslot cluster|links "
    b"cluster|myid cluster|myshardid cluster|nodes cluster|shards cluster|slots "
    b"command command|count command|docs command|getkeys command|getkeysandflags command|info "
    b"command|list config|get function|dump function|list function|stats info lastsave "
    b"latency|doctor latency|graph latency|histogram latency|history latency|latest "
    b"memory|doctor memory|malloc-stats memory|stats memory|usage module|list "
    b"object|encoding object|freq object|idletime object|refcount "
    b"pubsub|channels pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub "
    b"role script|exists slowlog|get slowlog|len time wait "
    b"xinfo|consumers xinfo|groups xinfo|stream".split()
)
CONTAINERS = frozenset(name.partition(b"|")[0] for name in HARMLESS if b"|" in name)
"""Commands whose second word decides whether they write: CONFIG GET reads, CONFIG SET writes.

Servers before version 7 do not list the second words in their answer to COMMAND."""


class WriteGuard:
    """Refuses commands that could write, on all connections of one run.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`.

    Attributes:
        refused: The error of the first refused write; the command may have caught it.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None
        self._allowed = HARMLESS
        self._containers = CONTAINERS

    def learn(self, table: Iterable[Sequence[Any]]) -> None:
        """Allow the commands that the server flags as readonly.

        Args:
            table: The server's answer to COMMAND with RESP2. Each command is a list of its name,
                arity, flags and more. Since version 7, the tenth item has such a list for each
                subcommand.
        """
        allowed, containers = set(self._allowed), set(self._containers)
        for entry in table:
            subcommands = entry[9] if len(entry) > 9 else ()  # noqa: PLR2004 - see above
            if subcommands:
                containers.add(bytes(entry[0]).lower())
            # PFCOUNT is flagged as readonly, although it may cache its result in the value.
            allowed |= {bytes(one[0]).lower() for one in (entry, *subcommands) if _reads(one[2])}
        self._allowed, self._containers = frozenset(allowed), frozenset(containers)

    def check(self, packed: bytes) -> None:
        """Refuse packed commands if one of them could write.

        Raises:
            ReadOnlyViolation: The run is read-only; a planned dry run is too.
            DryRunViolation: The run is a dry run that will be rolled back.
        """
        for name in command_names(packed, self._containers):
            if name not in self._allowed:
                error = _refusal(self.mode, name)
                self.refused = self.refused or error
                raise error

    def guarded(self, connection_class: type[Connection]) -> type[Connection]:
        """Return a subclass whose connections check each command before sending it."""
        guard = self

        class GuardedConnection(connection_class):  # type: ignore[misc, valid-type]
            oneoff_guarded = True  # so `other_clients` does not check these connections

            async def send_packed_command(self, command: Any, *args: Any, **kwargs: Any) -> None:
                packed = joined(command)
                guard.check(packed)
                await super().send_packed_command(packed, *args, **kwargs)

        return GuardedConnection


def command_names(packed: bytes, containers: Collection[bytes]) -> Iterator[bytes]:
    """Yield the name of each packed command: `get`, or `config|get` for one of `containers`."""
    for first, second in commands_in(packed):
        name = first.lower()
        if name in containers and second:
            name += b"|" + second.lower()
        yield name


def commands_in(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""Yield the first two words of each command; the second is empty if there is none.

    A client sends a command as a RESP array of bulk strings: `*2\r\n$3\r\nGET\r\n$1\r\nx\r\n`. The
    lengths are used to skip values, so a value that contains `\r\n*1` is not read as a command.
    Servers also accept commands as plain lines ("inline commands"), which redis-py never sends.
    Such lines, and all other bytes that can't be read, count as one unknown command, which is
    refused.
    """
    at = 0
    while at < len(packed):
        try:
            at, words = _first_words(packed, at)
        except (ValueError, IndexError):
            yield b"(unreadable)", b""
            return
        yield words


def _first_words(packed: bytes, at: int) -> tuple[int, tuple[bytes, bytes]]:
    """Return the position after one command, and its first two words."""
    count, at = _number(packed, at, b"*")
    words = []
    for number in range(count):
        size, at = _number(packed, at, b"$")
        if number <= 1:
            words.append(packed[at : at + size])
        at += size + 2  # skip the string and its line end
    if at > len(packed):
        message = "cut off"
        raise ValueError(message)
    return at, (words[0], words[1] if count > 1 else b"")


def _number(packed: bytes, at: int, kind: bytes) -> tuple[int, int]:
    """Return the number in a header such as `*2` or `$3`, and the position after it."""
    end = packed.index(b"\r\n", at)
    if packed[at : at + 1] != kind:
        message = "not packed as redis-py does"
        raise ValueError(message)
    return int(packed[at + 1 : end]), end + 2


def joined(command: str | bytes | Iterable[bytes]) -> bytes:
    """Return the data that a connection is about to send as one bytes object.

    A large command is sent in chunks that may end anywhere, so chunks can't be checked one by one.
    An iterable can be consumed only once, so the caller must send the returned bytes.
    """
    if isinstance(command, str):
        return command.encode()
    return command if isinstance(command, bytes) else b"".join(command)


def _reads(flags: Iterable[bytes]) -> bool:
    return b"readonly" in flags and b"write" not in flags


def _refusal(mode: Mode, name: bytes) -> CommandError:
    what = name.decode(errors="backslashreplace").replace("|", " ").upper()
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            f"a read-only run tried to send {what} to Redis, which may write",
            why="a command with access = Access.READ and a dry run with DryRun.PLAN must "
            "not write; nothing was sent",
            try_=(
                "if the command is meant to write, declare access = Access.WRITE and a dry_run",
                "in a dry run return the plan instead: if run.dry_run: return Result.changed(...)",
            ),
        )
    return DryRunViolation(
        f"a dry run tried to send {what} to Redis, which may write",
        why="a rollback could not undo it; it was not sent, and the dry run was rolled back",
        try_="set dry_run = DryRun.PLAN, and return the plan: if run.dry_run: return Result...",
    )
