"""`shell`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oneoff import (
    Access,
    Argument,
    BaseCommand,
    Confirm,
    DataError,
    DryRun,
    Flag,
    Option,
    Result,
    UsageError,
)

if TYPE_CHECKING:
    from oneoff.database.engine import Database
    from oneoff.database.transaction import WorkTransaction
    from oneoff.services.shell.console import Console


class Shell(BaseCommand):
    """Open a Python shell on the project, or run a script in it.

    Ready are `session`, `cache`, `settings`, `run`, the models, what Project(shell=...) names, and
    SQLAlchemy's `select`, `insert`, `update`, `delete`, `func` and `text`; `await` works at the
    top level. `cache` is a client of REDIS_URL, connected when an input names it. A person at a
    terminal gets a prompt (IPython's or ptpython's where installed); otherwise the script comes
    from -c, FILE or standard input.

    Without --write the database and Redis refuse to write. With it, at the prompt
    `await session.commit()` saves at once, and what is not committed is rolled back on leaving; a
    script is one transaction, saved when it ends without an error and rolled back when it fails,
    its own commits included. With --write --dry-run everything is rolled back. No rollback undoes
    what `cache` has written, and a dry run refuses it.

    Every input is kept beside the run's record, before it is run, and written to the log stream as
    `shell.input_given`; secrets are masked. `audit show` lists the inputs of a run.
    """

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    confirm_only_protected = True
    examples = (
        "shell",
        'shell -c "print(await session.scalar(select(func.count()).select_from(User)))"',
        'shell -c "print(await cache.dbsize())"',
        "shell fix.py --write --dry-run",
        "shell --write",
    )

    file: Path | None = Argument(default=None, help="A script; - is standard input.")
    code: str = Option(default="", short="c", help="Run this text instead of a file.")
    write: bool = Flag(help="Allow writing; asks first in production.")
    plain: bool = Flag(help="Use the plain prompt though another one is installed.")

    def only_reads(self) -> bool:
        return not self.write

    def confirm_level(self) -> Confirm:
        return Confirm.PROMPT if self.write else Confirm.NEVER

    def consequence(self) -> str:
        return "runs Python that may write to {target}"

    async def handle(self, console: Console, work: WorkTransaction, database: Database) -> Result:
        if self.code and self.file:
            raise UsageError(f"-c and {self.file} can't be run both; give one of them")
        warnings: list[str] = []
        if self.code or self.file or not console.interactive:
            source, name = await self._script(console)
            await console.run(source, name, work.session)
        else:
            warnings = await console.interact(work, database, plain=self.plain)
        return Result(did_change=self.write, warnings=warnings)

    async def _script(self, console: Console) -> tuple[str, str]:
        if self.code:
            return self.code, "<string>"
        if self.file is None or str(self.file) == "-":
            return await console.read_script(), "<stdin>"
        try:
            return self.file.read_text(encoding="utf-8"), str(self.file.resolve())
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise DataError(f"{self.file} can't be read: {reason}") from exc
