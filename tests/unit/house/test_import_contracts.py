"""Each import contract fails for code that breaks it: a contract that never fails proves nothing.

`make contracts` checks the real code. Here each test breaks a copy of the code in one place.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
LAYERS = "the layers of oneoff: each imports only layers below it"
SERVICES = "the layers of oneoff.services"
CYCLES = "no import cycles between packages, or between the modules of a package"
PROJECT = "commands import app and oneoff, app imports oneoff, and never in reverse"
STANDARD_LIBRARY = "core and utils import only the standard library"
PUBLIC = "applications and their commands import only the public packages of oneoff"
INSIDE = "inside oneoff, only commands and cli import the public names"
FRAMEWORK = "only app.web imports a web framework"
WEB = "nothing imports app.web"
ARQ = "only jobs, its integration and the project's worker import ARQ"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the code that the contracts check. All tests of a worker share its cache."""
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("oneoff", "app", "commands"):
        only_code = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / name, folder / name, ignore=only_code)
    return folder


@pytest.fixture
def broken(copy: Path) -> Callable[[Mapping[str, str]], list[str]]:
    """Return the names of the contracts that these additional files break."""

    def broken(files: Mapping[str, str]) -> list[str]:
        for name, text in files.items():
            (copy / name).parent.mkdir(exist_ok=True)
            (copy / name).write_text(text)
        try:
            done = subprocess.run(
                [sys.executable, "-c", LINT], cwd=copy, capture_output=True, text=True, check=False
            )
        finally:
            for name in files:
                (copy / name).unlink()
                if not any((copy / name).parent.iterdir()):
                    (copy / name).parent.rmdir()
        lines = " ".join(done.stdout.split()).partition("---- the layers")[2]
        summary = f"the layers{lines}".partition(" Contracts: ")[0]
        kept = summary.replace(" KEPT ", " KEPT\n").replace(" BROKEN ", " BROKEN\n").splitlines()
        return [line.removesuffix(" BROKEN") for line in kept if line.endswith(" BROKEN")]

    return broken


@pytest.mark.parametrize(
    ("contract", "files"),
    [
        (LAYERS, {"oneoff/extras/__init__.py": ""}),
        (LAYERS, {"oneoff/example.py": ""}),
        (LAYERS, {"oneoff/config/example.py": "from oneoff.runtime import gate"}),
        (
            LAYERS,
            {"oneoff/core/example.py": "if TYPE_CHECKING:\n    from oneoff.config import settings"},
        ),
        (LAYERS, {"oneoff/core/example.py": "def f():\n    from oneoff.runtime import gate"}),
        (SERVICES, {"oneoff/services/example.py": ""}),
        (SERVICES, {"oneoff/services/help/example.py": "from oneoff.services import data"}),
        (
            CYCLES,
            {
                "oneoff/utils/one.py": "from oneoff.utils import two",
                "oneoff/utils/two.py": "from oneoff.utils import one",
            },
        ),
        (
            CYCLES,
            {
                "oneoff/runtime/logs/example.py": "from oneoff.runtime.audit import record",
                "oneoff/runtime/audit/example.py": "from oneoff.runtime.logs import loggers",
            },
        ),
        (PROJECT, {"app/example.py": "from commands import hello"}),
        (STANDARD_LIBRARY, {"oneoff/core/example.py": "import sqlalchemy"}),
        (
            STANDARD_LIBRARY,
            {"oneoff/utils/example.py": "if TYPE_CHECKING:\n    import structlog"},
        ),
        (PUBLIC, {"app/example.py": "from oneoff.core.errors import NotFound"}),
        (PUBLIC, {"commands/example.py": "from oneoff.database.engine import Database"}),
        (PUBLIC, {"app/example.py": "from oneoff.integrations.asgi.health import HealthChecks"}),
        (PUBLIC, {"app/example.py": "from oneoff.cli.dispatch import dispatch"}),
        (INSIDE, {"oneoff/runtime/example.py": "from oneoff import Result"}),
        (FRAMEWORK, {"app/example.py": "from fastapi import Request"}),
        (FRAMEWORK, {"commands/example.py": "import starlette"}),
        (WEB, {"app/example.py": "from app.web import health"}),
        (ARQ, {"oneoff/runtime/example.py": "import arq"}),
    ],
)
def test_each_contract_finds_code_that_breaks_it(
    broken: Callable[[Mapping[str, str]], list[str]], contract: str, files: Mapping[str, str]
) -> None:
    """For example, a folder without a layer, an import from a higher layer, or an import cycle."""
    assert contract in broken(files)
