"""`db migrate`: each revision is applied completely or not at all, and errors explain why."""

from __future__ import annotations

import asyncio

import pytest

from oneoff.services.migrations import revision_runner
from tests.support.shop import CREATE_ITEM, DROP_ITEM, FAIL, INSERT_ONE, INSERT_OUTSIDE, Shop


async def test_an_empty_database_is_migrated_to_head(shop: Shop) -> None:
    """Every revision is applied in order and listed."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", INSERT_ONE)

    done = await shop.manage("db migrate")

    assert (0, "") == (done.exit_code, done.stderr)
    assert (
        "revision  message\n"
        "a1        Revision a1\n"
        "a2        Revision a2\n"
        "applied 2 revisions; the database is at a2\n"
    ) == done.stdout
    assert [("one",)] == await shop.query("SELECT name FROM item")


async def test_migrating_twice_does_nothing_the_second_time(shop: Shop) -> None:
    """The second run shows the database's revision."""
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")

    again = await shop.manage("db migrate")

    assert (0, "nothing to do: the database is at a1 (head)\n") == (again.exit_code, again.stdout)


async def test_a_project_without_revisions_has_nothing_to_do(shop: Shop) -> None:
    """An empty folder of revisions is valid."""
    done = await shop.manage("db migrate")

    message = "nothing to do: the database is at no revision; stored its environment: test\n"
    assert (0, message) == (done.exit_code, done.stdout)


async def test_a_failing_revision_is_rolled_back_and_those_before_it_stay(shop: Shop) -> None:
    """The error names the revision, the file, the line, and the applied revisions."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", f"{INSERT_ONE}\n{FAIL}")
    shop.write("a3", "a2", INSERT_ONE)

    failed = await shop.manage("db migrate")

    assert 1 == failed.exit_code
    assert (
        "error[migration-failed]: revision a2 (Revision a2) failed at migrations/versions/a2.py:10:"
    ) in failed.stderr
    assert (
        "  why:  it was rolled back; applied before it: a1; not applied: a3\n"
        "  try:  correct migrations/versions/a2.py\n"
        "  try:  python manage.py migrate\n"
    ) in failed.stderr
    assert ["a1"] == await shop.versions_applied()
    assert [] == await shop.query("SELECT name FROM item")


async def test_the_sqlstate_of_a_failure_is_shown(postgres_shop: Shop) -> None:
    """Operators look it up."""
    postgres_shop.write("a1", None, FAIL)

    failed = await postgres_shop.manage("db migrate")

    assert 'relation "nowhere" does not exist (SQLSTATE 42P01)' in failed.stderr


async def test_values_of_rows_are_not_shown(postgres_shop: Shop) -> None:
    """PostgreSQL adds them to the details of an error, which the message does not include."""
    postgres_shop.write(
        "a1", None, f"{CREATE_ITEM}op.create_unique_constraint('u','item',['name'])"
    )
    postgres_shop.write("a2", "a1", f"{INSERT_ONE}\n{INSERT_ONE}".replace("one", "s3cret"))

    failed = await postgres_shop.manage("db migrate")

    assert "(SQLSTATE 23505)" in failed.stderr
    assert "s3cret" not in failed.stderr


async def test_a_revision_that_committed_part_of_its_work_is_not_called_rolled_back(
    shop: Shop,
) -> None:
    """The changes of an autocommit block stay, and the error says so."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", f"{INSERT_OUTSIDE}{FAIL}")

    failed = await shop.manage("db migrate")

    assert (
        "why:  part of it may have been committed outside its transaction, and is kept;"
        in failed.stderr
    )
    assert "try:  undo its changes by hand, or make it skip objects" in failed.stderr
    assert [("one",)] == await shop.query("SELECT name FROM item")


async def test_the_run_that_applied_a_revision_is_stored(shop: Shop) -> None:
    """Each applied revision has its row, written in its own transaction."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", FAIL)

    failed = await shop.manage("db migrate")

    assert failed.outcome is not None
    assert [("a1", failed.outcome.run_id)] == await shop.query(
        "SELECT revision, run_id FROM oneoff_applied_revisions"
    )


async def test_an_index_can_be_built_concurrently(postgres_shop: Shop) -> None:
    """CREATE INDEX CONCURRENTLY would wait for a snapshot of the lock's own connection."""
    postgres_shop.write("a1", None, CREATE_ITEM)
    postgres_shop.write(
        "a2",
        "a1",
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("later", "item", ["id"], postgresql_concurrently=True)',
    )

    async with asyncio.timeout(30):
        done = await postgres_shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert [(True,)] == await postgres_shop.query(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'later'::regclass"
    )


async def test_a_revision_is_tried_again_until_it_gets_its_locks(
    postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the attempts, other sessions get their locks."""
    await _lock_out(postgres_shop, monkeypatch, pauses=(0.0,) * 1000, tries=2)

    assert ["a2"] == await postgres_shop.versions_applied()


async def test_a_revision_that_never_gets_its_locks_is_a_temporary_error(
    postgres_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 75: the revision was rolled back, and can be tried again."""
    code, stderr = await _lock_out(postgres_shop, monkeypatch, pauses=(0.0, 0.0), tries=1000)

    assert 75 == code
    assert "error[lock-timeout]: revision a2 did not get its locks in 3 tries" in stderr
    assert ["a1"] == await postgres_shop.versions_applied()


async def _lock_out(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, pauses: tuple[float, ...], tries: int
) -> tuple[int, str]:
    """Migrate while another client uses the table, until `tries` attempts have failed."""
    monkeypatch.setattr(revision_runner, "PAUSES", pauses)
    shop.write("a1", None, CREATE_ITEM)
    await shop.manage("db migrate")
    shop.write("a2", "a1", 'op.add_column("item", sa.Column("note", sa.Text))')
    database, failures = shop.database(), 0
    async with database.connect("other") as connection:
        await connection.exec_driver_sql("SELECT * FROM item")

        async def free(_connection: object) -> None:
            nonlocal failures
            failures += 1
            if failures == tries:
                await connection.rollback()
            await roll_back(_connection)  # type: ignore[arg-type]

        roll_back = revision_runner._roll_back
        monkeypatch.setattr(revision_runner, "_roll_back", free)
        finished = await shop.manage("db migrate --lock-timeout 50ms")
    await database.dispose()
    return finished.exit_code, finished.stderr


async def test_a_lost_lock_stops_before_the_next_revision(postgres_shop: Shop) -> None:
    """Applied revisions stay. The exit code is 75."""
    postgres_shop.write(
        "a1",
        None,
        f'{CREATE_ITEM}op.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
        "WHERE application_name LIKE 'oneoff/audit/%'\")",
    )
    postgres_shop.write("a2", "a1", INSERT_ONE)

    stopped = await postgres_shop.manage("db migrate")

    assert 75 == stopped.exit_code
    assert "error[lock-lost]: the lock 'migrations' was lost" in stopped.stderr
    assert ["a1"] == await postgres_shop.versions_applied()


async def test_a_lost_database_connection_is_reported(postgres_shop: Shop) -> None:
    """The exit code is 69, because another attempt may succeed."""
    postgres_shop.write("a1", None, CREATE_ITEM)
    postgres_shop.write("a2", "a1", 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")')

    failed = await postgres_shop.manage("db migrate")

    assert 69 == failed.exit_code
    assert "error[connection-lost]: revision a2 (Revision a2) failed at" in failed.stderr
    assert ["a1"] == await postgres_shop.versions_applied()


async def test_a_connection_that_is_lost_between_two_revisions_is_reported(
    postgres_shop: Shop,
) -> None:
    """It is no error of env.py. The next `migrate` applies the rest."""
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    listen = f'event.listen(op.get_bind(), "begin", lambda one: one.exec_driver_sql("{end}"))'
    postgres_shop.write("a1", None, f"{CREATE_ITEM}from sqlalchemy import event\n{listen}")
    postgres_shop.write("a2", "a1", INSERT_ONE)

    failed = await postgres_shop.manage("db migrate")
    done = await postgres_shop.manage("db migrate")

    assert (69, 0) == (failed.exit_code, done.exit_code), failed.stderr
    assert "error[connection-lost]: the connection was lost before the next" in failed.stderr
    assert "  why:  applied before it: a1; not applied: a2\n" in failed.stderr
    assert ["a2"] == await postgres_shop.versions_applied()


async def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(sqlite_shop: Shop) -> None:
    """With foreign keys on, SQLite would delete them with the old table."""
    sqlite_shop.write(
        "a1",
        None,
        f"{CREATE_ITEM}op.execute('CREATE TABLE part (id INTEGER PRIMARY KEY, "
        "item_id INTEGER REFERENCES item(id) ON DELETE CASCADE)')\n"
        f"{INSERT_ONE}\nop.execute('INSERT INTO part (item_id) VALUES (1)')",
    )
    sqlite_shop.write(
        "a2",
        "a1",
        'with op.batch_alter_table("item", recreate="always") as batch:\n'
        '    batch.add_column(sa.Column("note", sa.Text))',
    )

    done = await sqlite_shop.manage("db migrate")

    assert 0 == done.exit_code, done.stderr
    assert [(1, 1)] == await sqlite_shop.query("SELECT id, item_id FROM part")


async def test_a_revision_that_violates_foreign_keys_is_refused(sqlite_shop: Shop) -> None:
    """They are checked before the revision is committed."""
    sqlite_shop.write(
        "a1",
        None,
        f"{CREATE_ITEM}op.execute('CREATE TABLE part (item_id INTEGER REFERENCES item(id))')\n"
        "op.execute('INSERT INTO part (item_id) VALUES (7)')",
    )

    failed = await sqlite_shop.manage("db migrate")

    assert "1 row would refer to rows that don't exist: part (to item)" in failed.stderr
    assert set() == await sqlite_shop.tables()


async def test_a_change_of_the_revisions_by_another_program_stops_the_run(shop: Shop) -> None:
    """The next step was planned for another revision. The exit code is 75."""
    for name, after in (("a1", None), ("a2", "a1"), ("a3", "a2")):
        shop.write(name, after)
    env = shop.root / "migrations/env.py"
    env.write_text(env.read_text().replace("(metadata)", "(metadata, on_version_apply=move)"))
    sql = "UPDATE alembic_version SET version_num = 'a1'"
    move = f"if step.up_revision_id == 'a2': ctx.execute({sql!r})"
    env.write_text(f"def move(ctx, step, **_):\n    {move}\n\n{env.read_text()}")

    stopped = await shop.manage("db migrate")

    assert 75 == stopped.exit_code, stopped.stderr
    assert (
        "error[revisions-changed]: the database is at a1, and was expected at a2\n"
        "  why:  another program changed its revisions meanwhile\n"
    ) in stopped.stderr


async def test_the_environment_is_stored(shop: Shop) -> None:
    """Later runs use the stricter of this and their own setting."""
    await shop.manage("db migrate", environ={"ENVIRONMENT": "staging"})

    assert [("staging",)] == await shop.query("SELECT environment FROM oneoff_environment")


@pytest.mark.parametrize("to", ["a2", "+2"])
async def test_a_migration_can_stop_before_the_head(shop: Shop, to: str) -> None:
    """At a revision, or after a number of steps."""
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("a2", "a1", INSERT_ONE)
    shop.write("a3", "a2", INSERT_ONE)

    await shop.manage(["db", "migrate", "--revision", to])

    assert ["a2"] == await shop.versions_applied()


@pytest.mark.parametrize("to", ["a1", "base"])
async def test_migrating_to_an_older_revision_is_refused(shop: Shop, to: str) -> None:
    """`db migrate` never undoes a revision, and the error names the command that does."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", INSERT_ONE)
    await shop.manage("db migrate")

    failed = await shop.manage(f"db migrate --revision {to}")
    checked = await shop.manage(f"db migrate --revision {to} --check")

    assert (1, 0) == (failed.exit_code, checked.exit_code)
    assert (
        f"error[revision-passed]: the database is at a2, which is after {to}\n"
        "  why:  migrate does not undo revisions\n"
        f"  try:  python manage.py rollback --to {to} --dry-run\n"
    ) in failed.stderr
    assert ["a2"] == await shop.versions_applied()


async def test_two_migrations_in_one_process_take_turns(shop: Shop) -> None:
    """Alembic's context is global to the process, so only one may use it at a time."""
    shop.write("a1", None, CREATE_ITEM)
    shop.write("a2", "a1", INSERT_OUTSIDE)

    both = await asyncio.gather(shop.manage("db migrate"), shop.manage("db migrate"))

    assert [0, 0] == [one.exit_code for one in both], [one.stderr for one in both]
    assert [("one",)] == await shop.query("SELECT name FROM item")
