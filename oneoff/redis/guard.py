"""What keeps a dry run, or a reading command, from writing to Redis.

Loaded only for those runs. It sits where bytes leave for the server, in the class of the
connections: pipelines, transactions, subscriptions, nodes of a cluster, and clients made from the
same pool all pass here, and what is refused is refused before anything of it was sent.

Which commands only read is asked of the server itself, so that modules and newer versions are
right too. A command it does not call reading counts as writing, unless it is one of `HARMLESS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode

if TYPE_CHECKING:
    from redis.asyncio.connection import Connection

HARMLESS = frozenset(
    # The connection's own.
    b"auth hello ping echo select quit reset client|getname client|id client|info client|list "
    b"client|no-touch client|setinfo client|setname asking readonly readwrite "
    # A transaction is as harmless as what it holds.
    b"multi exec discard watch unwatch "
    b"subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe "
    # What the server says of itself; it flags none of these, and some as an administrator's.
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
"""Commands whose second word decides. Servers before version 7 don't list those words."""


class WriteGuard:
    """Refuses what could write, on every connection of one run.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`.

    Attributes:
        refused: The first attempt to write, though the command may have swallowed the error.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None
        self._allowed = HARMLESS
        self._containers = CONTAINERS

    def learn(self, table: Iterable[Sequence[Any]]) -> None:
        """Allow what the server calls reading.

        Args:
            table: Its answer to COMMAND, as it comes with RESP2: name, arity, flags, and since
                version 7 the same of its subcommands as the tenth item.
        """
        allowed, containers = set(self._allowed), set(self._containers)
        for entry in table:
            subcommands = entry[9] if len(entry) > 9 else ()  # noqa: PLR2004 - see above
            if subcommands:
                containers.add(bytes(entry[0]).lower())
            # PFCOUNT is among them although it may keep what it computed beside the value.
            allowed |= {bytes(one[0]).lower() for one in (entry, *subcommands) if _reads(one[2])}
        self._allowed, self._containers = frozenset(allowed), frozenset(containers)

    def check(self, packed: bytes) -> None:
        """Refuse packed commands if one of them could write.

        Raises:
            ReadOnlyViolation: In a reading command or a planned dry run.
            DryRunViolation: In a dry run that will be rolled back.
        """
        for first, second in commands_in(packed):
            name = first.lower()
            if name in self._containers and second:
                name += b"|" + second.lower()
            if name not in self._allowed:
                error = _refusal(self.mode, name)
                self.refused = self.refused or error
                raise error

    def over(self, connection_class: type[Connection]) -> type[Connection]:
        """Return a class of connections that pass nothing without this guard's consent."""
        guard = self

        class GuardedConnection(connection_class):  # type: ignore[misc, valid-type]
            oneoff_guarded = True  # for `other_clients`, which knows less of the server

            async def send_packed_command(self, command: Any, *args: Any, **kwargs: Any) -> None:
                packed = joined(command)
                guard.check(packed)
                await super().send_packed_command(packed, *args, **kwargs)

        return GuardedConnection


def commands_in(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the first two words of each command; the second is empty where there is none.

    What is not packed as arrays of texts, which a server may read too, is one unknown command.
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
    count, at = _number(packed, at, b"*")
    words = []
    for number in range(count):
        size, at = _number(packed, at, b"$")
        if number <= 1:
            words.append(packed[at : at + size])
        at += size + 2
    if at > len(packed):
        message = "cut off"
        raise ValueError(message)
    return at, (words[0], words[1] if count > 1 else b"")


def _number(packed: bytes, at: int, kind: bytes) -> tuple[int, int]:
    end = packed.index(b"\r\n", at)
    if packed[at : at + 1] != kind:
        message = "not packed as redis-py does"
        raise ValueError(message)
    return int(packed[at + 1 : end]), end + 2


def joined(command: str | bytes | Iterable[bytes]) -> bytes:
    """Return what a connection is about to send, in one piece."""
    if isinstance(command, str):
        return command.encode()
    return command if isinstance(command, bytes) else b"".join(command)


def _reads(flags: Iterable[bytes]) -> bool:
    return b"readonly" in flags and b"write" not in flags


def _refusal(mode: Mode, name: bytes) -> CommandError:
    what = name.decode(errors="backslashreplace").replace("|", " ").upper()
    if mode is Mode.READ_ONLY:
        return ReadOnlyViolation(
            f"a read-only run sent {what} to Redis, which may write",
            why="a reading command and a planned dry run get a client that only reads; nothing of "
            "it was sent",
            try_=(
                "say access = Access.WRITE and a dry_run if the command is meant to write",
                "in a dry run return the plan instead: if run.dry_run: return Result.changed(...)",
            ),
        )
    return DryRunViolation(
        f"a dry run sent {what} to Redis, which may write",
        why="no rollback would undo it; nothing of it was sent, and everything was rolled back",
        try_="say dry_run = DryRun.PLAN, and return the plan: if run.dry_run: return Result...",
    )
