"""Every command line of the documentation runs, and prints what its page says.

Each page is one session: its lines run in order, on one database.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.documentation import (
    PAGES,
    ROOT,
    RUN_ELSEWHERE,
    Session,
    blocks,
    is_executed,
    write_taught_commands,
)

WITH_ADA = ("migrate", "user create ada ada@example.com --generate-password")
COOKBOOK = "docs/howto/cookbook.md"
PREPARED: dict[str, tuple[str, ...]] = {
    "README.md": (),
    "docs/tutorial/first-command.md": (),
    "docs/howto/first-admin.md": (),
    "docs/howto/run-jobs.md": ("migrate",),
    "docs/howto/secrets.md": ("migrate",),
    COOKBOOK: (*WITH_ADA, "user create grace grace@example.com --generate-password"),
    "docs/howto/write-a-batch.md": (*WITH_ADA, "data cleanup --only events --new-run --confirm"),
}
"""The lines that run before those of a page; those of most pages are `WITH_ADA`."""
IDS = {
    "docs/explanation/audit.md": "audit list",
    "docs/howto/approve-a-run.md": "approval list",
    "docs/howto/run-a-batch-on-many-workers.md": "batch list",
    "docs/howto/write-a-batch.md": "batch list",
}
SESSIONS = [
    page
    for page in PAGES
    if str(page.relative_to(ROOT)) not in RUN_ELSEWHERE
    and any(is_executed(block) and not block.marker for block in blocks(page))
]
VOLATILE = (
    (re.compile(r"\b[0-9a-f]{10}\b"), "<id>"),
    (re.compile(r"\d{8}T\d{6}-"), "<time>-"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"^password: .*", re.MULTILINE), "password: <password>"),
    (re.compile(r"all \d+ commands"), "all <n> commands"),
)


@pytest.fixture
def operator(manage_project: tuple[str, str], tmp_path: Path, redis_url: str) -> Manage:
    """Return an operator with an empty Redis, and a SQLite file that does not exist yet."""
    environ = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/shop.sqlite3",
        "REDIS_URL": redis_url,
        "ENVIRONMENT": "development",
        "OPERATOR": "sam",
    }
    return Manage(*manage_project, environ)


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_line_of_a_page_runs(
    page: Path, operator: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line in a console block prints what follows it; a line in a sh block succeeds."""
    monkeypatch.chdir(tmp_path)
    name = str(page.relative_to(ROOT))
    if name == COOKBOOK:
        operator.project = project_with(page, tmp_path, monkeypatch)
    session = Session(operator, tmp_path, IDS.get(name, ""))
    (tmp_path / "names.txt").write_text("ada\n", encoding="utf-8")
    for line in PREPARED.get(name, WITH_ADA):
        assert 0 == (await operator(line)).exit_code

    assert [] == await wrong_lines(page, session)


async def test_a_line_that_fails_or_prints_something_else_is_found(
    operator: Manage, tmp_path: Path
) -> None:
    """In a sh block and in a console. A block with a marker does not run."""
    page = tmp_path / "page.md"
    failing = "```sh\npython manage.py helo\n```\n"
    other = "```console\n$ python manage.py hello\nhello, moon!\n```\n"
    page.write_text(f"{failing}\n{other}\n<!-- not run: x -->\n{failing}", encoding="utf-8")

    wrong = await wrong_lines(page, Session(operator, tmp_path))

    assert ["python manage.py helo", "python manage.py hello"] == [line for line, _ in wrong]
    assert "unknown-command" in wrong[0][1]
    assert "hello, world!\n" == wrong[1][1]


async def wrong_lines(page: Path, session: Session) -> list[tuple[str, str]]:
    """Run the lines of a page; return those that fail or print something else, and what."""
    wrong = []
    for block in blocks(page):
        session.learn(block)
        if block.marker or not is_executed(block):
            continue
        for line, expected in block.lines():
            done = await session.run(line)
            errors = re.findall(r"^error\[.*", done.stderr, re.MULTILINE | re.DOTALL)
            shown = "".join([done.stdout, *errors])
            if block.language == "sh" and done.exit_code:
                wrong.append((line, shown))
            if block.language == "console" and stable(expected) != stable(shown):
                wrong.append((line, shown))
    return wrong


def project_with(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the import string of the reference project with the commands of a page."""
    package = write_taught_commands(page.read_text(encoding="utf-8"), folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    source = f"""
from copy import copy
from app.project import project
project = copy(project)
project.commands = ("commands", {package!r})
"""
    name = f"project_{package}"
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return f"{name}:project"


def stable(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return re.sub(r" +", " ", text).strip()
