"""Define the global options, which every command has or gets from its policy, in one table.

Parsing, help, completion and the reference all read this table.
"""

from __future__ import annotations

from oneoff.core.policy import Access, Confirm, DryRun

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from oneoff.core.command import BaseCommand

    Missing = Callable[[type[BaseCommand]], str]

WAIVE = "waive"
AS, FIELDS = "as_", "fields"
FORMS = ("table", "csv", "json")
"""The forms in which `--as` prints rows."""
LOCK_WAIT = 60.0
"""Seconds that a run waits for a lock that another run holds, by default."""


class GlobalOptions:
    """The values of the global options of one command line.

    Attributes:
        timeout: Seconds until the run is cancelled and rolled back; None for no limit.
        confirm: None if not given, True for the plain flag, else the target.
        lock_wait: Seconds to wait for the lock.
        statement_timeout, lock_timeout, idle_timeout: Seconds, as in `oneoff.database.limits`; None
            if not given.
        verbose: The number of times `--verbose` was given.
        waive: The reasons to run although a check of the task fails, by the name of the check.
        as_: One of `FORMS`; empty if not given.
        fields: The names of the fields of a row to show; none for all.
        sort: The field to sort rows by, after "-" for descending; empty if not given.
    """

    __slots__ = (
        "approval",
        "as_",
        "break_glass",
        "confirm",
        "debug",
        "dry_run",
        "fields",
        "help",
        "idle_timeout",
        "json",
        "lock_timeout",
        "lock_wait",
        "no_color",
        "no_input",
        "quiet",
        "reason",
        "sort",
        "statement_timeout",
        "ticket",
        "timeout",
        "traceback",
        "verbose",
        "version",
        "waive",
    )

    def __init__(self) -> None:
        self.json = False
        self.as_ = ""
        self.fields: tuple[str, ...] = ()
        self.sort = ""
        self.no_input = False
        self.verbose = 0
        self.quiet = False
        self.debug = False
        self.traceback = False
        self.no_color = False
        self.timeout: float | None = None
        self.reason = ""
        self.ticket = ""
        self.dry_run = False
        self.confirm: Literal[True] | str | None = None
        self.lock_wait = LOCK_WAIT
        self.statement_timeout: float | None = None
        self.lock_timeout: float | None = None
        self.idle_timeout: float | None = None
        self.break_glass = ""
        self.approval = ""
        self.waive: dict[str, str] = {}
        self.help = False
        self.version = False

    @property
    def shapes_rows(self) -> bool:
        """Whether only the rows of the result are shown, as an option asks."""
        return bool(self.as_ or self.fields or self.sort)


class GlobalOption:
    """One global option.

    Attributes:
        name: The attribute of `GlobalOptions`; the spelling is made from it.
        help: One sentence for help.
        short: One letter, or empty.
        metavar: The name of the value in help; empty for a flag.
        equals_only: Whether the value is optional and must be written `--name=VALUE`, because the
            next word may be an argument of the command.
        missing: Returns why a command does not have the option ("does not take a lock"), or an
            empty text if it has it. None for the options that every command has.
    """

    __slots__ = ("equals_only", "help", "metavar", "missing", "name", "short")

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002 - the field's own word, as in argparse and click
        *,
        short: str = "",
        metavar: str = "",
        equals_only: bool = False,
        missing: Missing | None = None,
    ) -> None:
        self.name = name
        self.help = help
        self.short = short
        self.metavar = metavar
        self.equals_only = equals_only
        self.missing = missing

    @property
    def spelling(self) -> str:
        """The long form of the option: `--lock-wait`."""
        return "--" + self.name.rstrip("_").replace("_", "-")

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar

    def why_missing(self, command: type[BaseCommand]) -> str:
        """Return why the command does not have this option; empty if it has it."""
        return self.missing(command) if self.missing else ""


def _no_dry_run(command: type[BaseCommand]) -> str:
    if command.dry_run is not DryRun.UNSUPPORTED:
        return ""
    return "does not write" if command.access is Access.READ else "can't be previewed"


def _no_rows(command: type[BaseCommand]) -> str:
    return "" if command.access is Access.READ else "is not a command that only reads"


def _no_confirm(command: type[BaseCommand]) -> str:
    asks = command.confirm is not Confirm.NEVER or may_raise_confirmation(command)
    return "" if asks else "does not ask for confirmation"


def _no_lock(command: type[BaseCommand]) -> str:
    return "" if command.lock else "does not take a lock"


def _no_limits(command: type[BaseCommand]) -> str:
    names = {"session", "work", "migrations", "batches", "console"}
    return "" if names & {*command.resources()} else "has no transaction"


def _no_break_glass(command: type[BaseCommand]) -> str:
    prohibited = command.confirm is Confirm.TYPE_NAME or command.environments
    may_be = may_raise_confirmation(command) or may_need_approval(command)
    return "" if prohibited or may_be else "is allowed everywhere"


def _no_approval(command: type[BaseCommand]) -> str:
    if command.access is Access.WRITE or may_need_approval(command):
        return ""
    return "does not write" if _no_confirm(command) else ""


def _no_waive(command: type[BaseCommand]) -> str:
    task = command.task
    if task is None:
        return "is not in the catalogue of admin tasks"
    # A property chooses the task by the inputs.
    return "" if getattr(task, "checks", True) else f"has no checks as the admin task {task.id}"


def may_raise_confirmation(command: type[BaseCommand]) -> bool:
    """Return whether the command overrides `confirm_level`."""
    from oneoff.core.command import BaseCommand

    return command.confirm_level is not BaseCommand.confirm_level


def may_need_approval(command: type[BaseCommand]) -> bool:
    """Return whether the command declares `approvals` or overrides `approvals_needed`."""
    from oneoff.core.command import BaseCommand

    return command.approvals > 0 or command.approvals_needed is not BaseCommand.approvals_needed


OPTIONS = (
    GlobalOption("dry_run", "Show what would happen and change nothing.", missing=_no_dry_run),
    GlobalOption(
        "confirm",
        "Confirm without a prompt. TARGET is, for example, shop@staging.",
        metavar="TARGET",
        equals_only=True,
        missing=_no_confirm,
    ),
    GlobalOption(
        "lock_wait",
        f"Wait this long for another run to release the lock. [default: {LOCK_WAIT:.0f}s]",
        metavar="DURATION",
        missing=_no_lock,
    ),
    GlobalOption(
        "statement_timeout",
        "Stop a statement that takes longer.",
        metavar="DURATION",
        missing=_no_limits,
    ),
    GlobalOption(
        "lock_timeout",
        "Stop a statement that waits longer for the lock of a table or row.",
        metavar="DURATION",
        missing=_no_limits,
    ),
    GlobalOption(
        "idle_timeout",
        "End a transaction that is idle for longer.",
        metavar="DURATION",
        missing=_no_limits,
    ),
    GlobalOption(
        "break_glass",
        "Run although policy forbids it. The reason is recorded for a review.",
        metavar="REASON",
        missing=_no_break_glass,
    ),
    GlobalOption(
        "approval",
        "Run what a second person has approved; this is also the confirmation.",
        metavar="ID",
        missing=_no_approval,
    ),
    GlobalOption(
        WAIVE,
        "Run although this check of the task fails. The reason is recorded. [may be repeated]",
        metavar="CHECK=REASON",
        missing=_no_waive,
    ),
    GlobalOption("json", "Print the result as one JSON object."),
    GlobalOption(
        AS, "Print only the rows, in this form.", metavar="|".join(FORMS), missing=_no_rows
    ),
    GlobalOption(
        FIELDS,
        "Print only these fields of each row: id,name.",
        metavar="NAMES",
        missing=_no_rows,
    ),
    GlobalOption(
        "sort",
        "Sort the rows by this field, or descending with --sort=-NAME.",
        metavar="NAME",
        missing=_no_rows,
    ),
    GlobalOption("no_input", "Never prompt. A run that needs an answer is refused."),
    GlobalOption("verbose", "Show more log messages. [may be repeated]", short="v"),
    GlobalOption("quiet", "Print only the data.", short="q"),
    GlobalOption("debug", "Show debug messages and tracebacks."),
    GlobalOption("traceback", "Show the traceback of an error."),
    GlobalOption("no_color", "Print without colors, as with NO_COLOR in the environment."),
    GlobalOption(
        "timeout", "Cancel the run and roll it back after this long: 90s, 5m.", metavar="DURATION"
    ),
    GlobalOption("reason", "Record the reason for the run.", metavar="TEXT"),
    GlobalOption("ticket", "Record the ticket that the run belongs to.", metavar="TEXT"),
    GlobalOption("help", "Show this page.", short="h"),
)
VERSION = GlobalOption("version", "Show the version. Only without a command.", short="V")
COUNTED = "verbose"
REPEATED = (COUNTED, WAIVE)
"""The options that may be given more than once."""


def options_of(command: type[BaseCommand]) -> Iterator[GlobalOption]:
    """Yield the global options of a command."""
    return (option for option in OPTIONS if not option.why_missing(command))


def leading_flags() -> dict[str, GlobalOption]:
    """Return the flags that may come before the command's name, by spelling."""
    flags = [option for option in (*OPTIONS, VERSION) if option.is_flag and not option.missing]
    return {option.spelling: option for option in flags} | {
        f"-{option.short}": option for option in flags if option.short
    }


def split_leading(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the flags before the command's name and the words from there on."""
    known = leading_flags()
    count = next((at for at, word in enumerate(words) if word not in known), len(words))
    return words[:count], words[count:]


def without_flags(words: Sequence[str]) -> list[str]:
    """Return the words without the flags that may come before the command's name."""
    known = leading_flags()
    return [word for word in words if word not in known]
