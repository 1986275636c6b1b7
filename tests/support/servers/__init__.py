"""Real servers for a test run: PostgreSQL, a standby, Redis (single or cluster), pgbouncer.

Each listens on a private port of 127.0.0.1, keeps its files in a temporary folder, and is
configured for speed instead of durability. It ends with the process that started it, even if that
process is killed. The fixtures in `tests/conftest.py` start a server for the first test that needs
it.
"""

from tests.support.servers.pgbouncer import PgBouncer, running_pgbouncer
from tests.support.servers.postgres import Postgres, running_postgres
from tests.support.servers.proxy import Proxy, proxying
from tests.support.servers.redis import Redis, running_redis
from tests.support.servers.redis_cluster import RedisCluster, running_redis_cluster
from tests.support.servers.standby import Standby, running_standby

__all__ = [
    "PgBouncer",
    "Postgres",
    "Proxy",
    "Redis",
    "RedisCluster",
    "Standby",
    "proxying",
    "running_pgbouncer",
    "running_postgres",
    "running_redis",
    "running_redis_cluster",
    "running_standby",
]
