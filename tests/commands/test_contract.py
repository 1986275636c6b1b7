"""What holds for every command. A new command needs a line in `samples.py`, and no more."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from oneoff import Access, BaseCommand, Confirm, DryRun
from oneoff.config.redis_url import parse_redis_url
from oneoff.core.outcome import Status
from oneoff.runtime.application import load_application
from oneoff.testing import Finished, Manage
from tests.support.database import dump, query
from tests.support.on_sqlite import ON_SQLITE
from tests.support.samples import SAMPLES, Sample

ROOT = Path(__file__).parents[2]
APP = load_application("app.project:project", str(ROOT))
PLANTED = {
    "STRIPE_API_KEY": "sk_live_planted_1",
    "SMTP_PASSWORD": "planted-p@ss-2",
    "BROKER_URL": "amqp://bob:planted%2Fp3@mq:5672/",
    "SESSION_SECRET": "planted secret 4",
}
NEVER_SHOWN = ("sk_live_planted_1", "planted-p@ss-2", "planted%2Fp3", "planted/p3", "secret 4")

CANONICAL = {entry.name: entry.alias_of or entry.name for entry in APP.registry.entries()}
# A command without a sample fails one test, which says what to add.
NAMES = [name for name in APP.registry.names() if CANONICAL[name] in SAMPLES]


def canonical(name: str) -> str:
    """Return the command that a one-word Django name stands for."""
    return CANONICAL[name]


def sample_of(name: str) -> Sample:
    """Return the sample of a command, or of the one that its name stands for."""
    return SAMPLES[canonical(name)]


def command_of(name: str) -> type[BaseCommand]:
    """Import a command."""
    return APP.registry.load(APP.registry.find(name.split())[0])


def named(*, access: Access | None = None, dry_run: bool = False, asks: bool = False) -> list[str]:
    """Return the names of the commands with this policy."""
    found = []
    for name in NAMES:
        command = command_of(name)
        if (
            access in (None, command.access)
            and (not dry_run or command.dry_run is not DryRun.UNSUPPORTED)
            and (not asks or command.confirm is not Confirm.NEVER)
        ):
            found.append(name)
    return found


class Stage:
    """One command's sample, in a database of its own."""

    def __init__(self, manage: Manage, name: str, tmp_path: Path, redis_url: str) -> None:
        self.manage, self.name, self.tmp_path = manage, name, tmp_path
        self.redis_url = redis_url
        self.sample = sample_of(name)
        self.run_id = ""

    async def set_up(self) -> None:
        for line in self.sample.setup:
            words = line.replace("{tmp}", str(self.tmp_path))
            done = await self.manage(words, stdin="correct horse battery", environ=self.environ)
            assert 0 == done.exit_code, done.stderr
            self.run_id = done.outcome.run_id if done.outcome else ""

    async def run(self, *flags: str) -> Finished:
        line = self.sample.line.format(tmp=self.tmp_path, run=self.run_id)
        return await self.manage(
            [*shlex.split(line), *flags],
            stdin="correct horse battery",
            environ={**PLANTED, **self.environ, "OPERATOR": self.sample.operator},
        )

    @property
    def environ(self) -> dict[str, str]:
        """What its commands need besides the database."""
        return {"REDIS_URL": self.redis_url}

    @property
    def confirmation(self) -> tuple[str, ...]:
        """The flag that confirms this command, if it asks."""
        level = command_of(self.name).confirm
        if level is Confirm.TYPE_NAME:
            return (f"--confirm={self.target}",)
        return ("--confirm",) if level is Confirm.PROMPT else ()

    @property
    def target(self) -> str:
        url = self.manage.environ["DATABASE_URL"]
        name = Path(url).stem if url.startswith("sqlite") else url.rpartition("/")[2]
        if command_of(self.name).aims_at == "redis":
            name = parse_redis_url(self.redis_url).name
        return f"{name}@{self.manage.environ['ENVIRONMENT']}"

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """Return all keys of Redis, and all rows of all tables but the record of runs.

        Those are what a dry run does write; and a run leaves its checkpoint though it had nothing
        to do.
        """
        rows = {
            name: found
            for name, found in dump(self.manage.environ["DATABASE_URL"]).items()
            if name not in {"oneoff_audit", "oneoff_runs", "oneoff_shell_inputs", "oneoff_batches"}
        }
        return {**rows, "redis": redis_dump(self.redis_url)}


def redis_dump(url: str) -> list[tuple[object, ...]]:
    """Return every key with its value as the server itself writes it down."""
    with redis.Redis.from_url(url) as client:
        return sorted((key, client.dump(key)) for key in client.scan_iter(count=1000))


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, manage: Manage, tmp_path: Path, redis_url: str
) -> Stage:
    """Set the sample of a command up."""
    made = Stage(manage, request.param, tmp_path, redis_url)
    await made.set_up()
    return made


def test_every_command_has_a_sample() -> None:
    """Whoever adds a command says here how to run it; the failure shows the line to add."""
    assert [] == [
        f'add to SAMPLES: "{name}": Sample(line="{command_of(name).examples[0]}"),'
        for name in sorted(set(CANONICAL.values()) - set(SAMPLES))
    ]


@ON_SQLITE
@pytest.mark.parametrize("name", NAMES)
async def test_help_has_an_example(manage: Manage, name: str) -> None:
    """That can be copied as it stands."""
    shown = await manage(f"{name} --help")

    assert 0 == shown.exit_code
    assert re.search(rf"Examples:\n +python manage.py {canonical(name)}", shown.stdout)


@pytest.mark.parametrize("stage", named(asks=True), indirect=True)
async def test_unconfirmed_it_is_refused_and_changes_nothing(stage: Stage) -> None:
    """77, nothing done, and the message holds the line that passes."""
    before = stage.dump()

    refused = await stage.run()

    assert 77 == refused.exit_code
    assert "error[confirmation-required]" in refused.stderr
    assert f"{stage.confirmation[0]}\n" in refused.stderr
    assert before == stage.dump()


@pytest.mark.parametrize("stage", named(asks=True), indirect=True)
async def test_a_wrong_target_never_passes(stage: Stage) -> None:
    """Not on any command that asks."""
    before = stage.dump()

    refused = await stage.run("--confirm=other@production")

    assert (77, before) == (refused.exit_code, stage.dump())
    assert "error[confirmation-mismatch]" in refused.stderr


@pytest.mark.parametrize("stage", named(dry_run=True), indirect=True)
async def test_a_dry_run_says_so_and_changes_nothing(stage: Stage) -> None:
    """It needs no confirmation either, and leaves a row that is marked as one."""
    before = stage.dump()

    preview = await stage.run("--dry-run")

    assert 0 == preview.exit_code, preview.stderr
    assert preview.stdout.startswith("DRY RUN"), preview.stdout
    assert preview.outcome
    assert preview.outcome.status is Status.UNCHANGED or "would" in preview.outcome.message
    assert before == stage.dump()
    url = stage.manage.environ["DATABASE_URL"]
    last = "SELECT dry_run, status FROM oneoff_runs ORDER BY started_at DESC, id DESC LIMIT 1"
    assert [(True, preview.outcome.status.value)] == [
        (bool(row[0]), row[1]) for row in query(url, last)
    ]


@pytest.mark.parametrize(
    "stage", [name for name in named(dry_run=True) if sample_of(name).real], indirect=True
)
async def test_a_dry_run_counts_what_the_real_run_changes(stage: Stage) -> None:
    """Rows as the command counts them, and as the database does where it rolled back."""
    preview = await stage.run("--dry-run", "--json")
    real = await stage.run("--json", *stage.confirmation)

    assert 0 == real.exit_code, real.stdout
    assert preview.rows == real.rows
    if command_of(stage.name).dry_run is DryRun.ROLLBACK:
        assert preview.json["tables"] == real.json["tables"]


@pytest.mark.parametrize(
    "stage",
    [name for name in NAMES if sample_of(name).real and sample_of(name).again],
    indirect=True,
)
async def test_the_second_run_finds_nothing_to_do(stage: Stage) -> None:
    """Running twice gives the same as once."""
    first = await stage.run(*stage.confirmation)
    after_first = stage.dump()
    again = await stage.run(*stage.confirmation)

    assert (0, 0) == (first.exit_code, again.exit_code), again.stderr
    assert again.outcome
    assert stage.sample.again == again.outcome.status.value
    if stage.sample.again == "unchanged":
        assert after_first == stage.dump()


@pytest.mark.parametrize("stage", named(access=Access.READ), indirect=True)
async def test_json_is_one_object_and_the_same_twice(stage: Stage) -> None:
    """Run id and times aside."""
    first, again = await stage.run("--json"), await stage.run("--json")

    assert 1 == first.stdout.count("\n"), first.stdout
    assert comparable(first, stage) == comparable(again, stage)


@pytest.mark.parametrize("stage", NAMES, indirect=True)
async def test_no_secret_is_shown_or_stored(stage: Stage) -> None:
    """Whatever the command prints at its most talkative."""
    shown = await stage.run("--dry-run", "-vv", "--debug")
    if 2 == shown.exit_code and stage.sample.real:  # it has no --dry-run
        shown = await stage.run("-vv", "--debug", *stage.confirmation)

    url = stage.manage.environ["DATABASE_URL"]
    stored = repr([query(url, f"SELECT * FROM oneoff_{name}") for name in ("runs", "audit")])
    stored += repr(query(url, "SELECT * FROM oneoff_shell_inputs"))
    secrets = [*NEVER_SHOWN, "correct horse battery"]
    assert [] == [s for s in secrets if s in shown.stdout + shown.stderr + stored]


def comparable(finished: Finished, stage: Stage) -> str:
    """Return the envelope without what may differ."""
    envelope = json.loads(finished.stdout)
    envelope.pop("run_id")
    if "*" in stage.sample.volatile:
        envelope["data"] = envelope["message"] = None
    return json.dumps(envelope)


def examples() -> Iterator[tuple[str, str]]:
    """Yield every example with its command."""
    for name in NAMES:
        yield from ((name, example) for example in command_of(name).examples)


@pytest.mark.parametrize(("name", "example"), list(examples()))
def test_examples_parse(name: str, example: str) -> None:
    """An example that does not parse teaches the wrong thing."""
    from oneoff.core.parsing import parse

    entry, rest = APP.registry.find(shlex.split(re.split(r"[#|>]", example)[0]))

    assert parse(APP.registry.load(entry), rest, name=entry.name).command is not None
