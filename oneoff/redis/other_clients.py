"""Make other Redis clients of the process read-only during a dry run or a reading command.

The resource `cache` has a guard of its own. This module checks what a service sends through another
client (`redis.from_url`, `arq.create_pool`, a client made from the settings of `cache`): it wraps
the method that sends bytes in the class that all connections of the driver share, blocking or not.
Nothing of a refused pipeline is sent.

A context variable limits the check to the tasks of the run, as in
`oneoff.database.guards.other_engines`. The server is not asked which of its commands read: the
question would come between two commands of somebody else's connection. So a command that is not in
`READS` counts as a write. Other drivers than redis-py are not checked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError, DryRunViolation, ReadOnlyViolation
from oneoff.core.policy import Mode
from oneoff.redis.guard import CONTAINERS, HARMLESS, command_names, joined
from oneoff.utils.context_scope import Scope

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


OWN_NAME = "oneoff/maintenance"
"""Client name of the framework's own connections, which may write in every run."""
DRIVERS = ("redis.connection", "redis.asyncio.connection")
"""Modules whose `AbstractConnection` sends the commands of every client of the driver."""
READS = frozenset(
    b"bitcount bitfield_ro bitpos dbsize dump eval_ro evalsha_ro exists expiretime fcall_ro "
    b"geodist geohash geopos georadius_ro georadiusbymember_ro geosearch get getbit getrange "
    b"hexists hget hgetall hkeys hlen hmget hrandfield hscan hstrlen hvals keys lcs lindex llen "
    b"lolwut lpos lrange mget pexpiretime pfcount pttl randomkey scan scard sdiff sinter "
    b"sintercard sismember smembers smismember sort_ro srandmember sscan strlen substr sunion "
    b"touch ttl type xlen xpending xrange xread xrevrange zcard zcount zdiff zinter zintercard "
    b"zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange "
    b"zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion "
    # Since Redis 7.4.
    b"hexpiretime hpexpiretime hpttl httl digest "
    b"vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vsim "
    # Modules.
    b"json.arrindex json.arrlen json.get json.mget json.objkeys json.objlen json.resp json.strlen "
    b"json.type ft._list ft.aggregate ft.explain ft.info ft.search ft.tagvals "
    b"ts.get ts.info ts.mget ts.mrange ts.mrevrange ts.queryindex ts.range ts.revrange "
    b"bf.card bf.exists bf.info bf.mexists cf.count cf.exists cf.info cf.mexists "
    b"cms.info cms.query topk.count topk.info topk.list topk.query "
    b"tdigest.byrank tdigest.cdf tdigest.info tdigest.max tdigest.min tdigest.quantile "
    b"tdigest.rank".split()
)
"""Names of the commands that only read, in lower case.

They are the ones that servers flag as reading in their answer to COMMAND: those of Redis 7.0, those
added later, and those of the modules that Redis 8 includes. Names of two words are in
`oneoff.redis.guard.HARMLESS`.
"""
OF_CONNECTIONS = frozenset(b"client|maint_notifications client|tracking client|caching".split())
"""Commands that drivers send about their own connection when they open it."""

_ALLOWED = HARMLESS | READS | OF_CONNECTIONS


class ClientProtection:
    """The part of a run in which other clients of Redis may only read.

    Attributes:
        refused: The error of the first refused write; the command may have caught it.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None

    def check(self, packed: bytes, connection: object) -> None:
        """Refuse packed commands if one of them could write.

        Raises:
            ReadOnlyViolation: In a reading command or a planned dry run.
            DryRunViolation: In a dry run that will be rolled back.
        """
        for name in command_names(packed, CONTAINERS):
            if name not in _ALLOWED:
                error = _refusal(self.mode, name, connection)
                self.refused = self.refused or error
                raise error


_scope = Scope[ClientProtection]("oneoff_clients")
_watched: set[str] = set()


@contextmanager
def read_only_clients(mode: Mode, *, process_wide: bool = False) -> Iterator[ClientProtection]:
    """Make every client of Redis read-only for the code run inside, and for the tasks it starts.

    The driver need not be imported yet, and is not imported here.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`; decides which error a write raises.
        process_wide: Whether to check threads without the context of the run too. Right only in a
            process that does nothing but this run.
    """
    _watch_drivers()
    with _scope.holding(ClientProtection(mode), process_wide=process_wide) as protection:
        yield protection


def _protection_of(connection: Any) -> ClientProtection | None:
    """Return the protection for a connection; None for the run's own, which have a guard."""
    protection = _scope.current()
    if protection is None or getattr(connection, "oneoff_guarded", False):
        return None
    return None if getattr(connection, "client_name", None) == OWN_NAME else protection


def _watch_drivers() -> None:
    for name in DRIVERS:
        if name in sys.modules:
            _watch(sys.modules[name])
    if not any(isinstance(finder, _DriverImports) for finder in sys.meta_path):
        sys.meta_path.insert(0, _DriverImports())


class _DriverImports(MetaPathFinder):
    """Wrap the connections of a driver that is imported during a run, when it has been loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in DRIVERS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            _watch_when_loaded(spec.loader)
        return spec


def _watch_when_loaded(loader: Any) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        if module.__name__ in DRIVERS:  # some loaders serve many modules
            _watch(module)

    loader.exec_module = exec_module


def _watch(module: ModuleType) -> None:
    """Make the connections of a driver check before they send; this is never undone."""
    connection_class: Any = getattr(module, "AbstractConnection", None)
    if module.__name__ in _watched or connection_class is None:
        return
    send = connection_class.send_packed_command

    # For blocking and asyncio connections: the coroutine of the latter is returned to be awaited.
    def send_packed_command(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        protection = _protection_of(self)
        if protection is not None:
            packed = joined(command)
            protection.check(packed, self)
            command = [packed]
        return send(self, command, *args, **kwargs)

    connection_class.send_packed_command = send_packed_command
    _watched.add(module.__name__)


def _refusal(mode: Mode, name: bytes, connection: Any) -> CommandError:
    what = name.decode(errors="backslashreplace").replace("|", " ").upper()
    kind = DryRunViolation if mode is Mode.ROLLBACK else ReadOnlyViolation
    return kind(
        f"something sent {what} to {_server_of(connection)} through a client of its own",
        why="it may write, and nothing of this run may stay in Redis; nothing of it was sent",
        try_=(
            "say access = Access.WRITE and dry_run = DryRun.PLAN if the command is meant to write",
            "in a dry run return the plan instead: if run.dry_run: return Result.changed(...)",
        ),
    )


def _server_of(connection: Any) -> str:
    host, port = getattr(connection, "host", None), getattr(connection, "port", None)
    return f"Redis at {host}:{port}" if host else "Redis"
