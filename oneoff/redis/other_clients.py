"""Make other Redis clients of the process read-only during a dry run or a read-only run.

The resource `cache` has its own guard. This module checks the commands that a service sends through
another client (`redis.from_url`, `arq.create_pool`, a client made from the settings of `cache`). It
wraps the method that sends bytes, in the base class of all connections of the driver, blocking and
asyncio. If a command of a pipeline is refused, nothing of the pipeline is sent.

A context variable limits the check to the tasks of the run, as in
`oneoff.database.guards.other_engines`. The server is not asked which of its commands read, because
the query would come between two commands on a connection of other code. So a command that is not
in `READS` counts as a write. Drivers other than redis-py are not checked.
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
"""Modules whose `AbstractConnection` sends the commands of all clients of the driver."""
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

These are the commands that servers flag as readonly in their answer to COMMAND: those of Redis 7.0,
those added later, and those of the modules that Redis 8 includes. Names of two words are in
`oneoff.redis.guard.HARMLESS`.
"""
OF_CONNECTIONS = frozenset(b"client|maint_notifications client|tracking client|caching".split())
"""Commands about its own connection that a driver sends when it opens one."""

_ALLOWED = HARMLESS | READS | OF_CONNECTIONS


class ClientProtection:
    """The part of a run during which other clients of Redis are read-only.

    Attributes:
        refused: The error of the first refused write; the command may have caught it.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.refused: CommandError | None = None

    def check(self, packed: bytes, connection: object) -> None:
        """Refuse packed commands if one of them could write.

        Raises:
            ReadOnlyViolation: The run is read-only; a planned dry run is too.
            DryRunViolation: The run is a dry run that will be rolled back.
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
    """Make all clients of Redis read-only for the code in the block and the tasks that it starts.

    The driver may be imported later; this function does not import it.

    Args:
        mode: `READ_ONLY` or `ROLLBACK`; decides which error a write raises.
        process_wide: Whether to include threads without the run's context. Set it only in a process
            that does nothing but this run.
    """
    _watch_drivers()
    with _scope.holding(ClientProtection(mode), process_wide=process_wide) as protection:
        yield protection


def _protection_of(connection: Any) -> ClientProtection | None:
    """Return the protection for a connection; None if it has a guard or is the framework's own."""
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
    """Wraps the connections of a driver that is imported during a run, after it was loaded."""

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
        if module.__name__ in DRIVERS:  # a loader may load other modules too
            _watch(module)

    loader.exec_module = exec_module


def _watch(module: ModuleType) -> None:
    """Make the connections of a driver check before they send; this is never undone.

    Without a protection in the current context, they send without a check.
    """
    connection_class: Any = getattr(module, "AbstractConnection", None)
    if module.__name__ in _watched or connection_class is None:
        return
    send = connection_class.send_packed_command

    # This works for blocking and asyncio connections. For the latter it returns the coroutine of
    # `send`, which the caller awaits.
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
        f"the run tried to send {what} to {_server_of(connection)} through another client",
        why="it may write, and this run must not change Redis; it was not sent",
        try_=(
            "if the command is meant to write, declare access = Access.WRITE and DryRun.PLAN",
            "in a dry run return the plan instead: if run.dry_run: return Result.changed(...)",
        ),
    )


def _server_of(connection: Any) -> str:
    host, port = getattr(connection, "host", None), getattr(connection, "port", None)
    return f"Redis at {host}:{port}" if host else "Redis"
