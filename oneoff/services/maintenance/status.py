"""Report the state of maintenance in the database and in the copy in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneoff.core.errors import CommandError
from oneoff.database.engine import Database
from oneoff.services.maintenance.redis_copy import open_copy
from oneoff.services.maintenance.store import NO_FACTS, NOT_MIGRATED, Record, read_record

if TYPE_CHECKING:
    from oneoff.config.settings import Config

NO_DATABASE = "does not exist yet"
NO_COPY = "no copy"
NO_REDIS = "REDIS_URL is not set"


async def maintenance_status(config: Config, run_id: str) -> dict[str, Any]:
    """Return the state of maintenance, and the separate states in the database and in Redis.

    Raises:
        CommandError: The database did not answer. The error's data contain the state in Redis.
    """
    in_redis = await _ask_redis(config)
    try:
        record, in_database = await _ask_database(config, run_id)
    except CommandError as exc:
        exc.data = {"maintenance": None, **NO_FACTS, "database": None, "redis": in_redis}
        raise
    return {
        "maintenance": _word(record),
        **(record.facts() if record else NO_FACTS),
        "database": in_database,
        "redis": in_redis,
    }


async def _ask_database(config: Config, run_id: str) -> tuple[Record | None, str]:
    url = config.database()
    if not url.exists():
        return None, NO_DATABASE
    database = Database(url, run_id=run_id, project=config.project)
    try:
        record = await read_record(database)
    except CommandError as exc:
        if exc.code != NOT_MIGRATED:
            raise
        return None, NOT_MIGRATED.replace("-", " ")
    finally:
        await database.dispose()
    return record, _word(record)


async def _ask_redis(config: Config) -> str:
    if not config.redis_url:
        return NO_REDIS
    try:
        async with open_copy(config) as redis:
            copy = await redis.read()
    except CommandError as exc:
        return exc.message
    if copy is None:
        return NO_COPY
    return _word(copy.window and copy.window.is_open())


def _word(state: object) -> str:
    return "on" if state else "off"
