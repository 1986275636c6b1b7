"""For each command a line that does its work, and the lines that prepare it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

USERS = (
    "user create ada ada@example.com --role admin --password-stdin",
    "user create grace grace@example.com --password-stdin",
)
ACCOUNTS = Path(__file__).with_name("accounts.csv")
SESSION = f"data import sessions {Path(ACCOUNTS).with_name('sessions.csv')} --confirm"
KEYS = ("service-account create ci", "apikey create --service-account ci")
JOB = ("jobs run refresh_report --job-id one --defer 1h",)
CLEANED = ("data cleanup --only events --new-run --confirm",)
REQUESTED = (*USERS, "approval request --reason x -- user promote grace admin")
ABORTED = (*JOB, "jobs abort one --confirm")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A command line that does the work of a command.

    Attributes:
        line: The words; `{tmp}` is a folder of the test's own.
        setup: Lines that are run first, with the same `{tmp}`.
        again: Status of the second run; None where it can't be run twice in one database.
        real: Whether it can run for real here: not if it writes into the repository itself.
        volatile: Keys of the data that differ from run to run.
        operator: Who runs it, if it must be somebody else than for `setup`.
    """

    line: str
    setup: tuple[str, ...] = ()
    again: str | None = "unchanged"
    real: bool = True
    volatile: tuple[str, ...] = ()
    operator: str = "tester"


SAMPLES = {
    "apikey create": Sample(
        line="apikey create --service-account ci", setup=KEYS[:1], again="succeeded"
    ),
    "apikey list": Sample(line="apikey list", setup=KEYS),
    "apikey revoke": Sample(line="apikey revoke 1", setup=KEYS),
    "apikey rotate": Sample(line="apikey rotate 1", setup=KEYS, again=None),
    "approval approve": Sample(line="approval approve {run}", setup=REQUESTED, operator="second"),
    "approval list": Sample(line="approval list", setup=REQUESTED, volatile=("*",)),
    "approval reject": Sample(line="approval reject {run}", setup=REQUESTED, again=None),
    "approval request": Sample(
        line="approval request --reason x -- user promote grace admin",
        setup=USERS,
        again="succeeded",
        volatile=("*",),
    ),
    "approval show": Sample(line="approval show {run}", setup=REQUESTED, volatile=("*",)),
    "approval withdraw": Sample(line="approval withdraw {run}", setup=REQUESTED, again=None),
    "audit list": Sample(line="audit list", volatile=("*",)),
    "audit archive": Sample(
        line="audit archive --before 2000-01-01 -o {tmp}/audit.jsonl", volatile=("*",)
    ),
    "audit export": Sample(line="audit export", volatile=("*",)),
    # The operator of a run can't review it, so these are refused.
    "audit review approve": Sample(line="audit review approve {run}", setup=USERS[:1], real=False),
    "audit review flag": Sample(line="audit review flag {run}", setup=USERS[:1], real=False),
    "audit review list": Sample(line="audit review list"),
    "audit roles": Sample(line="audit roles app", real=False),
    "audit verify": Sample(line="audit verify", volatile=("*",)),
    "audit show": Sample(line="audit show {run}", setup=USERS[:1], volatile=("*",)),
    "batch cancel": Sample(line="batch cancel {run}", setup=CLEANED),
    "batch list": Sample(line="batch list", setup=CLEANED, volatile=("*",)),
    "batch pause": Sample(line="batch pause {run}", setup=CLEANED),
    "batch resume": Sample(line="batch resume {run}", setup=CLEANED),
    "batch show": Sample(line="batch show {run}", setup=CLEANED, volatile=("*",)),
    "cache clear": Sample(line="cache clear --prefix shop:", setup=("cache warm",)),
    "cache inspect": Sample(line="cache inspect 'shop:*'", setup=("cache warm",), volatile=("*",)),
    "cache stats": Sample(line="cache stats", volatile=("*",)),
    "cache warm": Sample(line="cache warm", again="succeeded"),
    "commands check": Sample(line="commands check"),
    "commands docs": Sample(line="commands docs -o {tmp}/commands.md"),
    "commands list": Sample(line="commands list"),
    "commands new": Sample(line="commands new report/contract", real=False),
    "completion": Sample(line="completion bash"),
    "config check": Sample(line="config check", volatile=("*",)),
    "config show": Sample(line="config show"),
    "data cleanup": Sample(line="data cleanup", setup=KEYS, volatile=("before",)),
    "data export": Sample(
        line="data export users -o {tmp}/users.csv --overwrite", setup=USERS, volatile=("*",)
    ),
    "data import": Sample(line=f"data import service_accounts {ACCOUNTS} --on-conflict skip"),
    "data transform": Sample(line="data transform fill-locale", volatile=("batch",)),
    "data transforms": Sample(line="data transforms"),
    "db backup": Sample(
        line="db backup -o {tmp}/shop.dump --overwrite", again="succeeded", volatile=("*",)
    ),
    "db create-migration": Sample(line="db create-migration -m x --empty", real=False),
    "db heads": Sample(line="db heads", volatile=("*",)),
    "db lint": Sample(line="db lint --strict --since 0003"),
    "db migrate": Sample(line="db migrate"),
    "db reset": Sample(line="db reset", setup=USERS, again=None),
    "db restore": Sample(
        line="db restore {tmp}/shop.dump", setup=("db backup -o {tmp}/shop.dump",), again=None
    ),
    "db rollback": Sample(line="db rollback", again=None),
    "db seed": Sample(line="db seed"),
    "db shell": Sample(line='db shell -c "SELECT 1"'),
    "db sql": Sample(line="db sql 0003"),
    "db stamp": Sample(line="db stamp base --force"),
    "db status": Sample(line="db status", volatile=("*",)),
    "hello": Sample(line="hello ada"),
    "jobs abort": Sample(line="jobs abort one", setup=JOB),
    "jobs list": Sample(line="jobs list", setup=JOB, volatile=("*",)),
    "jobs purge": Sample(line="jobs purge", setup=ABORTED),
    "jobs retry": Sample(line="jobs retry one", setup=ABORTED),
    "jobs run": Sample(line="jobs run refresh_report --job-id one"),
    "jobs show": Sample(line="jobs show one", setup=JOB, volatile=("*",)),
    "jobs stats": Sample(line="jobs stats", setup=JOB, volatile=("*",)),
    "outbox deliver": Sample(
        line="outbox deliver", setup=(*USERS, "user promote grace moderator --confirm")
    ),
    "outbox list": Sample(
        line="outbox list",
        setup=(*USERS, "user promote grace moderator --confirm"),
        volatile=("created_at",),
    ),
    "service-account activate": Sample(
        line="service-account activate ci",
        setup=(*KEYS[:1], "service-account deactivate ci --confirm"),
    ),
    "service-account create": Sample(line=f"{KEYS[0]} --if-not-exists"),
    "service-account deactivate": Sample(line="service-account deactivate ci", setup=KEYS),
    "service-account list": Sample(line="service-account list", setup=KEYS[:1]),
    "session list": Sample(line="session list"),
    "session revoke": Sample(line="session revoke 1", setup=(*USERS, SESSION), again=None),
    "shell": Sample(line="shell -c \"await session.execute(text('SELECT 1'))\""),
    "system environment": Sample(line="system environment set test"),
    "system exit-codes": Sample(line="system exit-codes"),
    "system health": Sample(line="system health --only database --only redis", volatile=("*",)),
    "system info": Sample(line="system info", volatile=("*",)),
    "system locks": Sample(line="system locks"),
    "system maintenance off": Sample(
        line="system maintenance off", setup=("system maintenance on --confirm",)
    ),
    "system maintenance on": Sample(line="system maintenance on"),
    "system maintenance status": Sample(
        line="system maintenance status", setup=("system maintenance on --confirm",)
    ),
    "task docs": Sample(line="task docs -o {tmp}/tasks"),
    "task list": Sample(line="task list", volatile=("executed",)),
    "task show": Sample(line="task show ADM-002", volatile=("*",)),
    "user activate": Sample(
        line="user activate grace", setup=(*USERS, "user deactivate grace --confirm")
    ),
    "user create": Sample(line=f"{USERS[0]} --if-not-exists"),
    "user deactivate": Sample(line="user deactivate grace", setup=USERS),
    "user list": Sample(line="user list", setup=USERS),
    "user promote": Sample(line="user promote grace admin", setup=USERS),
    "user reset-password": Sample(
        line="user reset-password grace --password-stdin", setup=USERS, again="succeeded"
    ),
    "user show": Sample(line="user show ada", setup=USERS),
}
