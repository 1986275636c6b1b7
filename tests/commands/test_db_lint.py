"""`db lint`: unsafe operations in pending revisions."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneoff.services.migrations.lint.squawk import find_squawk
from tests.support.lint.items import DROP, FEW, INDEX, MANY, add, with_items
from tests.support.shop import CREATE_ITEM, Shop


async def test_a_finding_shows_what_to_write_instead(postgres_shop: Shop) -> None:
    """With the names of the revision, and the size of the table."""
    shop = await with_items(postgres_shop, INDEX, MANY)

    shown = await shop.manage("db lint")
    found = (await shop.manage("db lint --json")).json["data"]

    assert 0 == shown.exit_code
    why, *instead = (line[42:].rstrip() for line in shown.stdout.splitlines()[1:4])
    assert "creating an index blocks writes until it is built (item: about 12,000 rows, 2 MiB)" in (
        why
    )
    assert "with op.get_context().autocommit_block():" in instead[0]
    assert 'op.create_index("ix_item_id_name", "item", [...], postgresql_conc' in instead[1]
    assert "1 unsafe in 1 revision" in shown.stdout
    assert ("a2", "create-index", "item.ix_item_id_name") == tuple(
        found[0][key] for key in ("revision", "rule", "subject")
    )


async def test_a_check_exits_3_for_an_unsafe_revision(postgres_shop: Shop) -> None:
    """And 0 after its safe form is written."""
    shop = await with_items(postgres_shop, INDEX, MANY)

    unsafe = await shop.manage("db lint --check")
    concurrently = INDEX.replace("])", "], postgresql_concurrently=True)")
    shop.write("a2", "a1", f"with op.get_context().autocommit_block():\n    {concurrently}")
    safe = await shop.manage("db lint --check")

    assert (3, 0) == (unsafe.exit_code, safe.exit_code)
    assert "error[unsafe-migration]: 1 unsafe in 1 revision" in unsafe.stderr
    assert 1 == (unsafe.stdout + unsafe.stderr).count("creating an index blocks writes")
    assert "nothing unsafe in 1 revision" in safe.stdout


@pytest.mark.parametrize("fill", ["", FEW])
async def test_the_lock_of_a_small_table_is_no_finding_unless_the_check_is_strict(
    postgres_shop: Shop, fill: str
) -> None:
    """Its index is built in milliseconds. In CI all tables are small, so `--strict` is for CI."""
    shop = await with_items(postgres_shop, INDEX, fill)

    assert "nothing unsafe" in (await shop.manage("db lint")).stdout
    assert "create-index" in (await shop.manage("db lint --strict")).stdout


async def test_a_table_that_a_pending_revision_creates_is_not_in_use(postgres_shop: Shop) -> None:
    """On a new database, and on one with other tables."""
    postgres_shop.write("a1", None, CREATE_ITEM)
    postgres_shop.write("a2", "a1", f"{INDEX}\n{DROP}")
    on_new = await postgres_shop.manage("db lint --check")
    await postgres_shop.query("CREATE TABLE other (id int)")

    assert 0 == on_new.exit_code
    assert 0 == (await postgres_shop.manage("db lint --check")).exit_code
    assert 3 == (await postgres_shop.manage("db lint --check --strict")).exit_code


async def test_applied_revisions_are_checked_since_a_revision(postgres_shop: Shop) -> None:
    """`base` is before the first."""
    shop = await with_items(postgres_shop, INDEX)
    await shop.manage("db migrate")

    none = await shop.manage("db lint --strict")
    since = [await shop.manage(f"db lint --strict --since {one} --json") for one in ("a1", "base")]

    assert "nothing unsafe in 0 revisions" in none.stdout
    assert [["a2"], ["a2"]] == [[row["revision"] for row in one.json["data"]] for one in since]


async def test_what_the_running_code_uses_is_also_found_on_sqlite(shop: Shop) -> None:
    """The models still declare the column, which is worse."""
    await with_items(shop, DROP)

    found = (await shop.manage("db lint --json")).json["data"]

    assert ["drop-column"] == [row["rule"] for row in found]
    assert "still uses the column (the models still declare it)" in found[0]["why"]


@pytest.mark.parametrize(
    ("column", "found"), [("note", 0), ("name", 3)], ids=["unknown to the models", "declared"]
)
async def test_a_revision_of_the_phase_contract_may_drop_what_the_models_do_not_declare(
    shop: Shop, column: str, found: int
) -> None:
    """It comes after the release that does not use it any more."""
    await with_items(shop, f'op.drop_column("item", "{column}")')
    add(shop, 'phase = "contract"')

    assert found == (await shop.manage("db lint --check")).exit_code


async def test_facts_of_the_database_make_a_change_safe(postgres_shop: Shop) -> None:
    """A longer type, and NOT NULL after a validated check."""
    longer = 'op.alter_column("item", "name", type_=sa.String({}), existing_type=sa.String(100))'
    not_null = 'op.alter_column("item", "note", nullable=False)'
    shop = await with_items(postgres_shop, longer.format(200), MANY)
    await shop.query("ALTER TABLE item ADD note text DEFAULT ''")

    safe = await shop.manage("db lint --check")
    shop.write("a2", "a1", longer.format(50) + f"\n{not_null}")
    unsafe = await shop.manage("db lint --json")
    await shop.query("ALTER TABLE item ADD CHECK (note IS NOT NULL)")
    checked = await shop.manage("db lint --json")

    assert 0 == safe.exit_code
    assert ["change-column-type", "set-not-null"] == [row["rule"] for row in unsafe.json["data"]]
    assert ["change-column-type"] == [row["rule"] for row in checked.json["data"]]


async def test_what_can_not_be_read_is_a_finding(postgres_shop: Shop) -> None:
    """A revision that queries the database may do anything."""
    shop = await with_items(postgres_shop, 'op.get_bind().scalar(sa.text("SELECT 1")).lower()')

    found = (await shop.manage("db lint --json")).json["data"]

    assert ["not-checkable"] == [row["rule"] for row in found]
    assert "('MockConnection' object has no attribute 'scalar')" in found[0]["why"]


@pytest.mark.parametrize(
    ("guard", "rule"),
    [
        ("if not context.is_offline_mode()", "drop-column"),
        ("if not op.get_context().as_sql", "not-checkable"),
    ],
)
async def test_what_a_revision_does_only_on_a_database_is_found_too(
    postgres_shop: Shop, guard: str, rule: str
) -> None:
    """Or at least that it can't be read. A function that `upgrade` calls is read like it."""
    body = f"def drop():\n    {DROP}\nfrom alembic import context\n{guard}:\n    drop()"
    shop = await with_items(postgres_shop, body)

    found = (await shop.manage("db lint --json")).json["data"]

    assert [rule] == [row["rule"] for row in found]


async def test_the_hint_of_a_reindex_names_what_is_built_again(postgres_shop: Shop) -> None:
    """A table, here."""
    shop = await with_items(postgres_shop, 'op.execute("REINDEX TABLE item")', MANY)

    (found,) = (await shop.manage("db lint --json")).json["data"]

    assert '    op.execute("REINDEX TABLE CONCURRENTLY item")' == found["instead"][1]


async def test_a_waiver_gives_the_reason(shop: Shop) -> None:
    """The finding is still listed, and the check passes."""
    await with_items(shop, DROP)
    add(shop, 'lint_waivers = {"drop-column": "no release since May reads it"}')

    checked = await shop.manage("db lint --check")

    assert 0 == checked.exit_code
    assert "waived: no release since May reads it" in checked.stdout
    assert "nothing unsafe in 1 revision; 1 waiver" in checked.stdout


@pytest.mark.parametrize(
    ("waivers", "message"),
    [
        ('{"drop-column": " "}', "the waiver of drop-column in migrations/versions/a2.py has no"),
        ('{"drop-colum": "x"}', "names a rule that does not exist: drop-colum"),
        ('["drop-column"]', "lint_waivers in migrations/versions/a2.py is no mapping"),
    ],
)
async def test_a_wrong_waiver_is_an_error(sqlite_shop: Shop, waivers: str, message: str) -> None:
    """A typing error must not hide a finding."""
    await with_items(sqlite_shop, DROP)
    add(sqlite_shop, f"lint_waivers = {waivers}")

    refused = await sqlite_shop.manage("db lint")

    assert 1 == refused.exit_code
    assert "error[bad-waiver]" in refused.stderr
    assert message in refused.stderr


async def test_the_check_does_not_wait_long_for_a_locked_table(postgres_shop: Shop) -> None:
    """The size of a table can't be read while another session changes it."""
    shop = await with_items(postgres_shop, INDEX, FEW)
    database = shop.database()
    async with database.connect() as blocking:
        await blocking.exec_driver_sql("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        busy = await shop.manage("db lint")
    await database.dispose()

    assert 75 == busy.exit_code, busy.stderr


async def test_squawk_adds_its_own_findings(postgres_shop: Shop) -> None:
    """If it is installed."""
    if not find_squawk():
        pytest.skip("squawk is not installed: make setup")
    long = "x" * 70
    shop = await with_items(postgres_shop, f'op.execute("ALTER TABLE item ADD {long} text")')

    found = (await shop.manage("db lint --json")).json["data"]

    assert ["squawk/identifier-too-long"] == [row["rule"] for row in found]


async def test_a_broken_squawk_is_an_error(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken for one that finds nothing."""
    program = tmp_path / "squawk"
    program.write_text("#!/bin/sh\necho 'wrong version' >&2; exit 2\n")
    program.chmod(0o755)
    monkeypatch.setattr("oneoff.services.migrations.lint.report.find_squawk", lambda: str(program))
    shop = await with_items(postgres_shop, INDEX)

    failed = await shop.manage("db lint")

    assert 1 == failed.exit_code
    assert "error[squawk-failed]" in failed.stderr
    assert "wrong version" in failed.stderr


async def test_the_status_shows_the_phases(sqlite_shop: Shop) -> None:
    """If a revision has one. An unknown phase is an error."""
    await with_items(sqlite_shop, "pass")
    without = await sqlite_shop.manage("db status")
    add(sqlite_shop, 'phase = "expand"')
    shown = await sqlite_shop.manage("db status --json")
    add(sqlite_shop, 'phase = "expnd"')
    broken = [await sqlite_shop.manage(line) for line in ("db status", "db lint", "db migrate")]

    assert "revision  message      state    applied_at" in without.stdout
    assert ["", "expand"] == [row["phase"] for row in shown.json["data"]]
    assert [1, 1, 1] == [one.exit_code for one in broken]
    assert "a2.py has the phase 'expnd'\n  why:  a phase is expand or contract" in broken[0].stderr


async def test_a_table_with_partitions_is_taken_for_a_large_one(postgres_shop: Shop) -> None:
    """It has no rows itself."""
    upgrade = 'op.execute("TRUNCATE log")\nop.create_index("i", "log", ["id"])'
    shop = await with_items(postgres_shop, upgrade)
    await shop.query("CREATE TABLE log (id int) PARTITION BY RANGE (id)")
    await shop.query("CREATE TABLE log_1 PARTITION OF log DEFAULT")

    found = (await shop.manage("db lint --json")).json["data"]

    assert ["truncate", "create-index"] == [row["rule"] for row in found]
