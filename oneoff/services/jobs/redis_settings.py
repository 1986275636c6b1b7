"""Convert REDIS_URL to the settings of the connections that ARQ opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - the driver's

from oneoff.config.redis_url import redis_url

if TYPE_CHECKING:
    from oneoff.config.settings import Config

RETRIES = 3  # attempts to repeat a command on a new connection
OUTAGES: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, OSError)


class _SafeSettings(RedisSettings):
    """Settings whose repr does not contain the password; that of ARQ's settings does."""

    def __repr__(self) -> str:
        return f"RedisSettings({self.host}:{self.port}/{self.database})"


def redis_settings(config: Config) -> RedisSettings:
    """Return ARQ's settings for REDIS_URL. ARQ's `from_dsn` does not decode %-encoded parts.

    Raises:
        ConfigurationError: REDIS_URL is not set, or can't be used.
    """
    url = redis_url(config)
    return _SafeSettings(
        host=url.host,
        port=url.port,
        database=url.db,
        username=url.user or None,
        password=url.password or None,
        ssl=url.tls,
        ssl_cert_reqs="required" if url.verify else "none",
        ssl_check_hostname=url.tls and url.verify,
        conn_timeout=max(round(url.timeout), 1),
        # Repeat a command on a new connection if its connection breaks. `outlive_outages` does the
        # same for the attempt to connect.
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), RETRIES),
        retry_on_error=list(OUTAGES),
    )
