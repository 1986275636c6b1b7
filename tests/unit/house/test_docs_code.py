"""The code in the documentation: each block is run, or its marker says why not.

`tests/commands/test_pages.py` runs the command lines. Here are the blocks of other languages.
"""

from __future__ import annotations
import __future__

import asyncio
import json
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # its stubs are no dependency

from app.models import User
from tests.support.documentation import PAGES, RUN_ELSEWHERE, Block, is_executed
from tests.support.documentation import blocks as blocks_of

ROOT = Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_FILE = re.compile(r"^class \w+\(\w*Command\)|^async def test_", re.MULTILINE)


PRELUDE = """
from __future__ import annotations
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import Select, String, Update, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from structlog.typing import FilteringBoundLogger as Logger

from app.admin_tasks import every_locale_filled
from app.locales import best_match
from app.models import Event, User
from app.project import project
from app.tasks import send_welcome_mail
from app.transforms import ForgetLocale
from oneoff.integrations.asgi import *
from oneoff.testing import Manage

ROOT = "."
app = api = FastAPI()
order = SimpleNamespace(id=1)
"""
"""What the parts of files that a page shows have in common, besides the public names of oneoff."""


def unexplained(page: Path) -> Iterator[str]:
    """Yield the blocks of a page that no test runs, and that do not say why."""
    for block in blocks_of(page):
        runs = block.language in RUNNERS or is_executed(block)
        if not runs and not block.marker:
            yield block.text


def names_of_a_page() -> dict[str, Any]:
    """Return the names that the blocks of a page may use, in a module of their own."""
    module = types.ModuleType("shown_on_a_page")
    sys.modules[module.__name__] = module  # annotations are resolved there
    oneoff = import_module("oneoff")
    names = module.__dict__
    names.update({name: getattr(oneoff, name) for name in oneoff.__all__})
    exec(PRELUDE, names)  # noqa: S102 - our own text
    names["config"] = oneoff.load_config(ROOT, oneoff.Project("shop"), {})
    return names


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Execute a block, after those before it."""
    code = compile(block.text, "<page>", "exec", flags=__future__.annotations.compiler_flag)
    exec(code, names)  # noqa: S102 - our own page


RUNNERS: dict[str, Callable[[Block, dict[str, Any]], object]] = {
    "python": run_python,
    "json": lambda block, _: [json.loads(line) for line in block.text.splitlines()],
    "toml": lambda block, _: tomllib.loads(block.text),
    "yaml": lambda block, _: list(yaml.safe_load_all(block.text)),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_of_a_page_is_run_or_says_why_not(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of Python run in order, with the names of the blocks before them."""
    if str(page.relative_to(ROOT)) in RUN_ELSEWHERE:
        return
    monkeypatch.setattr("oneoff.integrations.process_logs.configure_logging", lambda *_: None)
    names = names_of_a_page()

    for block in blocks_of(page):
        if block.language in RUNNERS and not block.marker:
            RUNNERS[block.language](block, names)
    assert [] == list(unexplained(page))


def test_a_block_without_a_test_or_a_reason_is_found(tmp_path: Path) -> None:
    """A marker without a reason is none. A wrong block of Python fails."""
    page = tmp_path / "page.md"
    curl = "```sh\ncurl x\n```\n"
    page.write_text(f"{curl}\n<!-- not run: it needs a network -->\n{curl}\n<!-- x -->\n{curl}")

    assert ["curl x\n"] * 2 == list(unexplained(page))
    with pytest.raises(NameError):
        run_python(Block("python", "BaseComand", ""), names_of_a_page())


@pytest.mark.parametrize("path", RUN_ELSEWHERE.values())
def test_pages_with_a_test_of_their_own_are_named_in_it(path: str) -> None:
    """A test that was moved would leave its page without one."""
    assert ROOT.joinpath(path).exists()


def blocks(page: Path) -> list[str]:
    """Return the blocks of Python code of a page."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def is_complete(block: str) -> bool:
    """Return whether a block is a file of commands or tests: with its imports."""
    return block.startswith(('"""', "import ", "from ")) and bool(_FILE.search(block))


def undefined_names(files: dict[str, str], folder: Path) -> list[str]:
    """Return the undefined names in some files."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "check", "--isolated", "--select=F821", "--output-format=concise", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if "F821" in line]


def test_complete_examples_define_or_import_every_name(tmp_path: Path) -> None:
    """They are copied as they are. Other blocks are parts of a file."""
    files = {
        f"{page.stem}_{number}.py": block
        for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
        for number, block in enumerate(blocks(page))
        if is_complete(block)
    }

    assert len(files) > 5
    assert [] == undefined_names(files, tmp_path)


def test_an_undefined_name_is_found(tmp_path: Path) -> None:
    """In a file of a command."""
    assert is_complete("import re\n\nclass One(BaseCommand): ...\n")
    assert 1 == len(undefined_names({"one.py": "import re\nmissing(re)\n"}, tmp_path))


def test_the_first_batch_of_the_how_to_works() -> None:
    """Also for users without a stored header."""
    names: dict[str, Any] = {"__name__": "commands.user.backfill_locale"}
    exec(blocks(ROOT / "docs/howto/write-a-batch.md")[0], names)  # noqa: S102 - our own page
    users = [User(accept_language=text) for text in (None, "de-DE,de;q=0.9")]

    changed = asyncio.run(names["BackfillLocale"]().process(None, users))

    assert (2, ["en", "de"]) == (changed, [user.locale for user in users])
