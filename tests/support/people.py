"""A database of the reference project with users, accounts, a key and sessions."""

from __future__ import annotations

import asyncio
import pickle
import shutil
from pathlib import Path

import redis

from oneoff.testing import Manage

ACCOUNTS = Path(__file__).with_name("accounts.csv")
LINES = (
    "user create ada ada@example.com --generate-password",
    "user create grace grace@example.com --generate-password --inactive",
    "service-account create ci",
    "apikey create --service-account ci",
    "service-account create old",
    "service-account deactivate old --confirm",
    "data cleanup --only sessions --new-run --confirm",
    f"data import sessions {ACCOUNTS.with_name('sessions.csv')} --confirm",
)


def make_people(project: tuple[str, str], migrated: Path, copy: Path) -> None:
    """Copy a migrated SQLite file, and fill the copy."""
    shutil.copyfile(migrated, copy)
    manage = Manage(*project, {"DATABASE_URL": f"sqlite:///{copy}", "ENVIRONMENT": "test"})
    for line in LINES:
        done = asyncio.run(manage(line))
        assert 0 == done.exit_code, done.stderr


def leave_jobs(url: str) -> None:
    """Store a waiting job and a failed one, with the same keys and values as ARQ."""
    job: dict[str, object] = {"t": None, "f": "refresh_report", "a": (), "k": {}, "et": 1}
    ending = {"s": False, "r": "no", "st": 1, "ft": 2, "q": "arq:queue", "id": "failed"}
    with redis.Redis.from_url(url) as client:
        client.set("arq:job:waiting", pickle.dumps(job))
        client.zadd("arq:queue", {"waiting": 1})
        client.set("arq:result:failed", pickle.dumps({**job, **ending}))
