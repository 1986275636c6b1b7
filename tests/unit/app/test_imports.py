"""The modules that are loaded by declaring the project's commands."""

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
    loaded = _loaded_by("app.project", *MODULES)

    assert "commands.user.create" in loaded
    assert set() == HEAVY & loaded


def test_the_user_service_loads_neither_settings_nor_mailer() -> None:
    """`user list` needs neither, so it must not import pydantic or smtplib."""
    loaded = _loaded_by("app.users")

    assert "sqlalchemy" in loaded
    assert set() == {"pydantic", "smtplib"} & loaded


def _loaded_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
