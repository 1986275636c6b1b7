"""Help and completion must start fast, so they may import only a few modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {
    "alembic",
    "argparse",
    "asyncio",
    "asyncpg",
    "dataclasses",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "pathlib",
    "pydantic",
    "shutil",
    "sqlalchemy",
    "structlog",
}


def imported_by(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the names of all modules it loaded."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


WITH_A_COMMAND = {"dataclasses", "inspect"}
"""What loading one command may import besides: `Result` is a dataclass."""
REGISTRY = (
    "from oneoff.runtime.registry.registry import Registry; "
    "r = Registry(('oneoff.commands',), '/');"
)
COMPLETION = "from oneoff.services.help.completion import candidates;"


@pytest.mark.parametrize(
    "code",
    [
        "r.find(['commands', 'list'])",
        "from oneoff.services.help.pages import overview; overview(r.listing())",
        f"{COMPLETION} candidates(r, ['comm'])",
    ],
    ids=["find", "help", "completion"],
)
def test_listing_commands_imports_nothing_heavy(code: str) -> None:
    """Each of these modules takes milliseconds at every start."""
    assert set() == imported_by(f"{REGISTRY} {code}") & HEAVY


@pytest.mark.parametrize(
    "code",
    [
        "from oneoff.services.help.pages import help_page; help_page(r, ['completion'])",
        "from oneoff.core.parsing import parse; parse(r.load(r.find(['completion'])[0]), ['bash'])",
        f"{COMPLETION} candidates(r, ['completion', 'b'])",
    ],
    ids=["help", "parse", "completion"],
)
def test_importing_one_command_imports_nothing_heavy(code: str) -> None:
    """Its class is enough for help, choices and usage errors."""
    assert set() == imported_by(f"{REGISTRY} {code}") & HEAVY - WITH_A_COMMAND


def test_completing_a_name_loads_only_a_few_modules() -> None:
    """None of those for listing, parsing or errors."""
    loaded = imported_by(f"{REGISTRY} {COMPLETION} candidates(r, ['comm'])")

    parts = (
        "runtime",
        "runtime.plugins",
        "runtime.plugins.entry_points",
        "runtime.registry",
        "runtime.registry.entry",
        "runtime.registry.packages",
        "runtime.registry.registry",
        "services",
        "services.help",
        "services.help.completion",
    )
    needed = {"oneoff", *(f"oneoff.{name}" for name in parts)}
    assert needed == {name for name in loaded if name.partition(".")[0] == "oneoff"}
