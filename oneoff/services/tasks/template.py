"""Write the template of a command that is an admin task, for `commands new --task`.

It runs, but `commands check` fails until each TODO in it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from string import Template
from typing import TYPE_CHECKING

from oneoff.core.task import NEEDED

if TYPE_CHECKING:
    from oneoff.services.tasks.catalogue import Catalogue

TEXTS = {
    "owner": '"TODO: the team that answers for it"',
    "author": '"TODO: who wrote it"',
    "invoked_by": '"TODO: who may run it, and when"',
    "approval": '"TODO: who approves it, and how"',
    "expected_duration": '"TODO: how long it takes"',
    "services": '("TODO: what it uses or affects",)',
    "data": '{"TODO: table": "TODO: about how many rows"}',
    "image": '"TODO: the image to run it in"',
    "compute": '"TODO: processor and memory"',
    "checks": '("backup-completed", "staging-run-successful", "on-call-notified")',
    "verify": "is_right",
    "afterwards": '"TODO: what to look at when it has run"',
}
"""The source of each field that a category may need; that of `created` is the current day."""

HEAD = '''\
"""`$name`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneoff import $names

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

'''
VERIFY = '''
async def is_right(session: AsyncSession) -> None:
    """TODO: say what holds if the work is right."""
    raise CheckFailed("the verification of $name is not written yet")

'''
CLASS = '''
class $class_name(BaseCommand):
    """TODO: describe what the task does. Help shows this line as the summary."""

$policy
    task = Task(
$fields
    )

    async def handle(self, session: AsyncSession) -> Result:
        return Result.unchanged("$name has nothing to do yet")
'''
WRITES = """\
    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    examples = ("$name --dry-run", "$name --confirm")"""
READS = '    examples = ("$name",)'
TEST = '''\
"""`$name`."""

from oneoff.testing import Manage


async def test_${leaf}_runs(manage: Manage) -> None:
    """%s"""
    outcome = await manage("$name%s")

    assert 0 == outcome.exit_code, outcome.stderr
'''


def templates(category: str, catalogue: Catalogue) -> tuple[Template, Template]:
    """Return the templates of a task's command and of its test, with the next free number."""
    writes = category != "analytics"
    verifies = "verify" in NEEDED[category]
    names = ["Access", "BaseCommand", "Confirm", "DryRun"] if writes else ["BaseCommand"]
    names += [*(["CheckFailed"] if verifies else ()), "Result", "Task"]
    fields = "\n".join(f"        {line}" for line in _fields(category, catalogue, writes=writes))
    source = HEAD + (VERIFY if verifies else "") + CLASS
    source = source.replace("$names", ", ".join(sorted(names)))
    source = source.replace("$policy", WRITES if writes else READS).replace("$fields", fields)
    if writes:
        test = TEST % ("The dry run changes nothing.", " --dry-run")
    else:
        test = TEST % ("It only reads.", "")
    return Template(source), Template(test)


def _fields(category: str, catalogue: Catalogue, *, writes: bool) -> Iterator[str]:
    numbers = [int(entry.task.id.split("-")[1]) for entry in catalogue.entries]
    yield f'"ADM-{max(numbers, default=0) + 1:03}",'
    yield f'category="{category}",'
    for name in NEEDED[category]:
        today = f'"{datetime.now(UTC):%Y-%m-%d}"'
        yield f"{name}={TEXTS.get(name, today)},"
    if writes:
        yield 'rollback="TODO: the command line that undoes it; or irreversible, with the reason",'
