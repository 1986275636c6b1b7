"""Give a project the env.py and alembic.ini that `alembic init` writes, and change them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from tests.support.shop import Shop

ROOT = Path(__file__).parents[2]
DRIVERS = {"postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
NO_MODELS = "target_metadata = None"
OWN_MODELS = "from tests.support.shop import metadata as target_metadata"


def write_env(shop: Shop, template: str, url: str = "", driver: str = "") -> Path:
    """Replace env.py by the one that `alembic init` writes, and return its path."""
    shutil.rmtree(shop.root / "migrations")
    ini, env = shop.root / "alembic.ini", shop.root / "migrations/env.py"
    ini.unlink(missing_ok=True)
    command.init(Config(ini), str(env.parent), template=template)
    dialect, _, rest = (url or shop.url).partition(":")
    if template == "async":
        dialect = DRIVERS[dialect]
    url = f"{driver or dialect}:{rest}".replace("%", "%%")
    ini.write_text(ini.read_text().replace("driver://user:pass@localhost/dbname", url))
    env.write_text(env.read_text().replace(NO_MODELS, OWN_MODELS))
    return env


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text that must be in the file."""
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def alembic(shop: Shop, *words: str) -> str:
    """Run the `alembic` command and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=shop.root,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
