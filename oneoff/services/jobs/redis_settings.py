"""Convert REDIS_URL to the settings of ARQ's own connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004 - the driver's

from oneoff.config.redis_url import redis_url

if TYPE_CHECKING:
    from oneoff.config.settings import Config

RETRIES = 3
OUTAGES: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, OSError)


class _SafeSettings(RedisSettings):
    """Settings that do not show the password in their repr, as those of ARQ do."""

    def __repr__(self) -> str:
        return f"RedisSettings({self.host}:{self.port}/{self.database})"


def redis_settings(config: Config) -> RedisSettings:
    """Return REDIS_URL as ARQ's settings; its own `from_dsn` does not decode %-encoded parts.

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
        # A command on a broken connection is sent again on a new one; see `outlive_outages`.
        retry=Retry(ExponentialBackoff(cap=1, base=0.1), RETRIES),
        retry_on_error=list(OUTAGES),
    )
