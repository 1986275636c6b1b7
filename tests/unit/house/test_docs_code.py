"""The Python code in the documentation: complete examples name what they use, and work."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.models import User

ROOT = Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_FILE = re.compile(r"^class \w+\(\w*Command\)|^async def test_", re.MULTILINE)


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
