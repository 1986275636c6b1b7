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
    """Open a Python shell for the project, or run a script in it.

    With -c or FILE, it runs a script. Without them, it opens a prompt if standard input is a
    terminal (with IPython or ptpython, if installed); otherwise it runs standard input as a script.
    `await` works at the top level.

    These names are defined: `session`, `cache`, `settings`, `run`, the models, the names in
    Project(shell=...), and SQLAlchemy's `select`, `insert`, `update`, `delete`, `func` and `text`.
    `cache` is a client of REDIS_URL. It connects when your code first names it.

    Without --write, the database and Redis refuse writes. With --write at the prompt,
    `await session.commit()` saves at once, and uncommitted changes are rolled back at the end. With
    --write, a script is one transaction. It is saved if the script ends without an error. If the
    script fails, everything is rolled back, including its own commits. With --write --dry-run,
    everything is rolled back. A rollback does not undo writes to `cache`; a dry run refuses them.

    Every input is stored with the record of the run before it is executed, and written to the log
    as `shell.input_given`. Secrets are masked. `audit show` lists the inputs of a run.
    """

    access = Access.WRITE
    dry_run = DryRun.ROLLBACK
    confirm_only_protected = True
    allow_agents = False
    examples = (
        "shell",
        'shell -c "print(await session.scalar(select(func.count()).select_from(User)))"',
        'shell -c "print(await cache.dbsize())"',
        "shell fix.py --write --dry-run",
        "shell --write",
    )

    file: Path | None = Argument(default=None, help="The script to run; - is standard input.")
    code: str = Option(default="", short="c", help="Run this code instead of a file.")
    write: bool = Flag(help="Allow writes; asks for confirmation in production.")
    plain: bool = Flag(help="Use the plain prompt even if IPython or ptpython is installed.")

    def only_reads(self) -> bool:
        return not self.write

    def confirm_level(self) -> Confirm:
        return Confirm.PROMPT if self.write else Confirm.NEVER

    def consequence(self) -> str:
        return "runs Python that may write to {target}"

    async def handle(self, console: Console, work: WorkTransaction, database: Database) -> Result:
        if self.code and self.file:
            raise UsageError(f"-c and {self.file} can't be used together; give one of them")
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
