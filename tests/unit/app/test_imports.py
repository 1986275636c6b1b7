"""What declaring the project's commands costs."""

from __future__ import annotations

import subprocess
import sys

from app.settings import ROOT

HEAVY = {"alembic", "argon2", "asyncpg", "email_validator", "pydantic", "sqlalchemy", "structlog"}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "commands").rglob("*.py")
    if path.stem != "__init__"
)


def test_declaring_a_command_loads_no_library() -> None:
    """`--help` and usage errors of `user create` need its class, not SQLAlchemy."""
    code = f"import sys, app.project, {', '.join(MODULES)}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    assert "commands.user.create" in loaded
    assert set() == HEAVY & set(loaded)
