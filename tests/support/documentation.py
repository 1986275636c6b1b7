"""The blocks of code on the pages, and the session of an operator who follows a page.

A block that no test runs has a marker in the line before it: `<!-- not run: the reason -->`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oneoff.testing import Finished, Manage

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.joinpath("docs").rglob("*.md")])
PROGRAM = "python manage.py "
RUN_ELSEWHERE = {
    "docs/reference/commands.md": "tests/commands/test_contract.py",
    "docs/reference/migration-lint.md": "tests/unit/services/migrations/lint/test_corpus.py",
    "docs/howto/production-migration.md": "tests/acceptance/test_production_migration.py",
}
"""Pages whose blocks have a test of their own."""
COPIED = ("app", "commands", "migrations", "tests", "docs")
COPIED_FILES = ("alembic.ini", "manage.py", "pyproject.toml")

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<marker>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TAUGHT = re.compile(r'"""`([a-z -]+)`\."""\n')
_COMMAND = re.compile(r"^class \w+\(\w*Command\):", re.MULTILINE)
_NEW_FILES = re.compile(r"\b(commands new|makemigrations (?!--check)|commands docs|task docs)")
_OWN_LINE = re.compile(rf"(?:\w+=\S+ )*{re.escape(PROGRAM)}")
_OPERATORS = frozenset({"|", "||", ">", "<", "&&"})
_ID = re.compile(r"\b(?:\d{8}T\d{6}-)?[0-9a-f]{10}\b(?!@)")
_PREFIX = re.compile(r"\bshop_[0-9A-Za-z]{8}\b")
_TARGET = re.compile(r"--confirm=\S+@(\w+)")


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: As the page names it; may be empty.
        text: The lines.
        marker: Why no test runs it; empty if one does.
    """

    language: str
    text: str
    marker: str

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each command line, and what it prints; unknown outside of a console."""
        if self.language == "console":
            for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                yield line, output
        elif self.language == "sh":
            for line in self.text.splitlines():
                yield line, ""


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["text"], found["marker"] or "")
        for found in _BLOCK.finditer(text)
    ]


def is_executed(block: Block) -> bool:
    """Return whether a session runs all lines of a block."""
    lines = list(block.lines())
    return bool(lines) and all(_OWN_LINE.match(line) for line, _ in lines)


def taught_commands(text: str) -> dict[str, str]:
    """Return the command files that a page shows, by the path that belongs to the name."""
    sources = [found["text"] for found in _BLOCK.finditer(text) if found["language"] == "python"]
    return {
        name[1].replace("-", "_").replace(" ", "/") + ".py": source
        for source in sources
        if (name := _TAUGHT.match(source)) and _COMMAND.search(source)
    }


def write_taught_commands(text: str, folder: Path) -> str:
    """Write the command files that a page shows; return the package they are in, if any."""
    package = f"taught_{folder.name}"
    commands = taught_commands(text)
    for name, source in commands.items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A page may show a command of the project. Then its copy replaces that command.
        overriding = source.replace("    examples = ", "    overrides = True\n    examples = ", 1)
        path.write_text(overriding, encoding="utf-8")
        for parent in path.relative_to(folder).parents:
            (folder / parent / "__init__.py").touch()
    return package if commands else ""


class Session:
    """Runs the lines of a page, in order, with the reference project.

    Args:
        manage: Runs lines in this process. Its database need not exist.
        folder: For the files of the page; also for a copy of the project, made when first needed,
            where processes run the lines that write source files.
        ids: The line whose JSON says the id for which the ids of the page stand.
    """

    def __init__(self, manage: Manage, folder: Path, ids: str = "") -> None:
        self._manage, self._folder, self._ids = manage, folder, ids
        server = manage.environ["REDIS_URL"].rpartition("@")[2].removeprefix("redis://")
        self._names = {"/backups/": f"{folder}/", "localhost/0@": f"{server}@"}
        self._copy: Path | None = None
        self._has_commands = False

    def write(self, name: str, text: str) -> None:
        """Write a file of the project's copy."""
        path = self._project() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def learn(self, block: Block) -> None:
        """Write the file of a command that a page shows, if the page has its own project."""
        if self._copy and block.language == "python" and (name := _TAUGHT.match(block.text)):
            words = name[1].replace("-", "_").replace(" ", "/")
            is_test = "async def test_" in block.text
            path = (
                f"tests/commands/test_{words.replace('/', '_')}" if is_test else f"commands/{words}"
            )
            self.write(f"{path}.py", block.text)

    async def run(self, line: str) -> Finished:
        """Run one line, in the environment that its confirmation names."""
        before, _, rest = line.partition(PROGRAM)
        environ = dict(word.split("=", 1) for word in shlex.split(before) if "=" in word)
        if target := _TARGET.search(rest):
            environ["ENVIRONMENT"] = target[1]
        for name, real in self._names.items():
            rest = rest.replace(name, real)
        words = shlex.split(await self._with_ids(rest), comments=True)
        stop = next((at for at, word in enumerate(words) if word in _OPERATORS), len(words))
        stdin = "correct horse battery\n" if words[stop:] == ["<", "password.txt"] else ""
        self._has_commands |= "commands new" in rest
        if self._has_commands or _NEW_FILES.search(rest):
            return self._process(words[:stop], environ)
        return await self._manage(words[:stop], stdin=stdin, environ=environ)

    def _process(self, words: list[str], environ: dict[str, str]) -> Finished:
        environ = {**os.environ, **self._manage.environ, **environ}
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=self._project(),
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(
            exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr, outcome=None
        )

    def _project(self) -> Path:
        if self._copy is None:
            self._copy = self._folder / "project"
            ignored = shutil.ignore_patterns("__pycache__", "acceptance", "servers", "unit")
            for name in COPIED:
                shutil.copytree(ROOT / name, self._copy / name, ignore=ignored)
            for name in COPIED_FILES:
                shutil.copyfile(ROOT / name, self._copy / name)
        return self._copy

    async def _with_ids(self, words: str) -> str:
        if self._ids and _ID.search(words):
            found = (await self._manage(f"{self._ids} --json")).json["data"][0]
            found = found.get("id") or found["run_id"]
            words = _ID.sub(found, words)
        if _PREFIX.search(words):
            keys = await self._manage("apikey list --json")
            words = _PREFIX.sub(keys.json["data"][0]["prefix"], words)
        return words
