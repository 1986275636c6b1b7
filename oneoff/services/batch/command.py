"""Declare work over many rows: `BatchCommand`, and the types that it uses.

Nothing heavy is imported: a command is loaded for `--help` too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from oneoff.core.arguments import Flag, Option
from oneoff.core.command import BaseCommand
from oneoff.core.conversion import duration_text
from oneoff.core.errors import UsageError
from oneoff.core.policy import Access, Confirm, DryRun
from oneoff.core.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

BOUNDS = frozenset("max_rows max_time max_errors rejects duty new_run shards shard fleet".split())
"""The inputs that limit one run, or determine where it runs. All other inputs identify the batch:
a run with the same values resumes it."""
FULL_DUTY = 100  # percent of the time: no pause between batches
MIN_DUTY = 0.1  # percent; a smaller value would mean pauses that no operator intends
MAX_SHARDS = 10_000
SHARD_VALUE = re.compile(r"(auto|[0-9]+)/([1-9][0-9]*)")  # `--shard`
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in the pods of an Indexed Job, from 0


class BatchRange(NamedTuple):
    """A range of keys: above `low`, up to and including `high`; None for no limit."""

    low: Any = None
    high: Any = None


class Throttle(Protocol):
    """A probe that decides whether the next batch has to wait."""

    async def reason(self, connection: AsyncConnection) -> str | None:
        """Return the reason to wait, as "replica_lag 4.2s > 2s"; None if there is none.

        Args:
            connection: In a separate transaction, which is rolled back afterwards.
        """


class Batches(Protocol):
    """Runs the batches of a command: the resource `batches`.

    The implementation is `BatchRunner`, in `oneoff.services.batch.resource`.
    """

    async def run(
        self,
        command: BatchCommand,
        *,
        limits: BatchRange = ...,
        part: str = "",
        name: str = "",
        reverts: str = "",
    ) -> Result:
        """Run all batches of a command; resume after the last checkpoint if it is unfinished.

        Args:
            command: What to do.
            limits: Only rows with keys in this range.
            part: Names one of several batches of the run; each has its own checkpoint.
            name: The words that resume the batch, if they are more than the command's name.
            reverts: The `name` of the batch that this one reverts, or that reverts this one. Only
                one of the two can be unfinished: starting one cancels the other.

        Raises:
            BatchRunning: Another run works on the same batch.
            BatchTakenOver: Another run has claimed the batch that this run had.
            BatchBound: The run reached a bound; committed rows are kept.
            BatchCancelled: An operator cancelled the batch.
        """
        ...


class BatchCommand(BaseCommand):
    """Work over many rows: one transaction for each batch, with the checkpoint in it.

    Declare either `select` and `process`, to change rows in Python, or `change` and `range_column`,
    to change them by one SQL statement. An unfinished batch of the same command and arguments is
    resumed after its last checkpoint, whatever stopped it.
    """

    access = Access.WRITE
    confirm = Confirm.PROMPT
    dry_run = DryRun.ROLLBACK
    dry_run_samples = True

    batch_size: ClassVar[int] = 1_000
    """Rows of the first batch; later batches have as many rows as fit into `batch_seconds`."""
    largest_batch: ClassVar[int] = 20_000
    """The most rows of a batch: they are in memory, and locked, at the same time."""
    smallest_batch: ClassVar[int] = 0
    """Rows below which a batch does not shrink because it is slow: more transactions would add load
    to a busy server. 0 for a tenth of `batch_size`."""
    batch_seconds: ClassVar[float] = 0.75
    """Seconds that a batch should take."""
    batch_duty: ClassVar[float] = FULL_DUTY
    """Percentage of the time in which the batch works; in the remaining time it pauses between two
    batches. With 5, the pause is 19 times as long as the batch before it."""
    batch_timeout: ClassVar[float] = 60.0
    """Seconds after which a batch is rolled back, and tried again with half the rows."""
    reconnect_seconds: ClassVar[float] = 60.0
    """Seconds to wait for a lost database."""
    key: ClassVar[str] = ""
    """Column of the selected table that orders the rows: unique, never NULL, never changed. Empty
    for the primary key."""
    range_column: ClassVar[str] = ""
    """Indexed column whose ranges divide `change` into batches. A batch takes all rows of its last
    value. Only a DELETE takes a part of them, if more rows share the value than a batch may have.
    """

    max_rows: int | None = Option(
        default=None, help="Stop after this many rows and save the progress (default: no limit)."
    )
    max_time: timedelta | None = Option(
        default=None, help="Stop after this time and save the progress: 90s, 2h."
    )
    max_errors: int = Option(
        default=0, help="Skip rows that fail, up to this many; needs --rejects."
    )
    rejects: Path | None = Option(default=None, help="File for the skipped rows, as JSON lines.")
    duty: float | None = Option(
        default=None,
        help="Percentage of the time in which the batch works (default: the command's).",
    )
    new_run: bool = Flag(
        default=False, help="Start a new batch instead of resuming an unfinished one."
    )
    shards: int = Option(
        default=0, help="Divide the keys into this many ranges, processed in parallel."
    )
    shard: str = Option(
        default="",
        help="K/N: only the Kth of N ranges; auto/N takes K from JOB_COMPLETION_INDEX.",
    )
    fleet: bool = Flag(default=False, help="Let the project's workers process the shards.")
    once: str = Option(
        default="", help="Name of this batch: once it is finished, it is not started again."
    )

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse a class that declares both ways to change rows, or one of them incompletely."""
        super().__init_subclass__(**kwargs)
        problems = [text for wrong, text in _problems(cls) if wrong]
        if problems:
            message = f"{cls.__module__}.{cls.__qualname__}: " + "; ".join(problems)
            raise TypeError(message)

    def __init__(self, **values: Any) -> None:
        """Set the inputs, and refuse invalid bounds."""
        super().__init__(**values)
        self.began = datetime.now(UTC)
        """When the batch was started. Compute ages from it: a run that resumes the batch has the
        same value. It is set before `change` or `select` is called."""
        wrong = [
            f"--{name.replace('_', '-')} {number} is less than 0"
            for name in ("max_errors", "shards")
            if (number := getattr(self, name)) < 0
        ]
        wrong += bound_problems(self.max_rows, self.max_time)
        wrong += duty_problems(self.duty) + _wrong_shards(self)
        if bool(self.max_errors) != bool(self.rejects):
            wrong.append("--max-errors and --rejects go together: the file gets the skipped rows")
        if self.max_errors and self.range_column:
            wrong.append("--max-errors does not work here: one statement changes many rows")
        if wrong:
            raise UsageError(wrong)

    def select(self) -> Any:
        """Return the `Select` of the rows to process, without order and limit."""

    async def process(self, session: AsyncSession, batch: Sequence[Any]) -> int:
        """Process one batch in its transaction; return how many rows were changed.

        It may be called again for the same rows after their transaction was rolled back. Therefore
        put effects outside the database into the outbox: `oneoff.put_effect`.

        Args:
            session: The session of the transaction, which is committed with the checkpoint.
            batch: The rows that `select` returned, at most `largest_batch`.
        """
        raise NotImplementedError

    def change(self) -> Any:
        """Return the `Delete` or `Update` to run in batches."""

    @property
    def percent_at_work(self) -> float:
        """`--duty`, or what the command declares."""
        return self.duty or self.batch_duty

    def probes(self) -> Sequence[Throttle]:
        """Return the probes to ask before each batch."""
        return ()

    def shards_to_do(self, environ: Mapping[str, str]) -> tuple[int, int]:
        """Return the number of the shard to process and the number of shards.

        The first is 0 for all shards, the second is 0 for a batch without shards. Both come from
        `--shard 3/8` or `--shards 8`. A run that a worker starts for one shard has neither option:
        its shard is `run.shard`.

        Args:
            environ: For `--shard auto/N`: Kubernetes sets the index there.

        Raises:
            UsageError: The index is missing, or is not below N.
        """
        if not self.shard:
            return 0, self.shards
        number, _, of = self.shard.partition("/")
        return int(number) if number != "auto" else _from_index(environ, of), int(of)

    async def handle(self, batches: Batches) -> Result:
        """Run the batches; override it to choose between several.

        Args:
            batches: The resource that runs them.
        """
        return await batches.run(self)


def bound_problems(max_rows: int | None, max_time: timedelta | None) -> list[str]:
    """Return the errors of bounds; empty if they are None or valid.

    0 is no bound: a script that computes it wants no row at all, not all rows.
    """
    problems = []
    if max_rows is not None and max_rows < 1:
        problems.append(f"--max-rows {max_rows} is less than 1")
    if max_time is not None and max_time <= timedelta():
        problems.append(f"--max-time {duration_text(max_time)} is not more than 0")
    return problems


def duty_problems(percent: float | None, name: str = "--duty") -> list[str]:
    """Return the errors of a percentage of the time; empty if it is None or valid."""
    if percent is None or MIN_DUTY <= percent <= FULL_DUTY:
        return []
    return [f"{name} {percent:g} is not a percentage from {MIN_DUTY} to {FULL_DUTY}"]


def _problems(cls: type[BatchCommand]) -> tuple[tuple[bool, str], ...]:
    base = BatchCommand
    selects, changes = cls.select is not base.select, cls.change is not base.change
    return (
        (selects and changes, "declares both select and change; declare only one"),
        (selects and cls.process is base.process, "declares select, so it needs process too"),
        (changes and not cls.range_column, "declares change, so it needs range_column too"),
        *((True, wrong) for wrong in duty_problems(cls.batch_duty, "batch_duty")),
    )


def _wrong_shards(command: BatchCommand) -> list[str]:
    bounded = any(getattr(command, name) for name in ("max_rows", "max_time", "max_errors", "duty"))
    parted = SHARD_VALUE.fullmatch(command.shard)
    problems = (
        (command.shards > MAX_SHARDS, f"--shards {command.shards} is more than {MAX_SHARDS}"),
        (command.shard and not parted, f"--shard {command.shard!r} is not like 3/8 or auto/8"),
        (
            parted and not _fits(*parted.groups()),
            f"--shard {command.shard}: K is not 1 to N, or N is more than {MAX_SHARDS}",
        ),
        (command.shard and command.shards, "--shard includes the number of shards; omit --shards"),
        (command.shard and command.fleet, "--shard is for this process, --fleet for the workers"),
        (command.shard and command.new_run, "--new-run would cancel the other shards too"),
        (command.fleet and not command.shards, "--fleet needs --shards: the number of ranges"),
        (command.fleet and bounded, "--fleet has no bounds: workers do not see each other's rows"),
    )
    return [text for wrong, text in problems if wrong]


def _fits(number: str, of: str) -> bool:
    return int(of) <= MAX_SHARDS and (number == "auto" or 1 <= int(number) <= int(of))


def _from_index(environ: Mapping[str, str], of: str) -> int:
    index = environ.get(INDEX_VARIABLE, "")
    if index.isdecimal() and int(index) < int(of):
        return int(index) + 1
    found = repr(index) if index else "not set"
    raise UsageError(
        f"--shard auto/{of}: {INDEX_VARIABLE} is {found}, not 0 to {int(of) - 1}",
        try_=(f"--shard 1/{of}", f"completions: {of} in the Indexed Job"),
    )
