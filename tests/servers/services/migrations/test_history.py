"""Checks, plans and dry runs of `db migrate`, and inconsistent revisions."""

from __future__ import annotations

import compileall
import shutil
from pathlib import Path
from shutil import make_archive

import pytest

from oneoff.services.migrations.head_from_files import plain_head
from oneoff.services.migrations.history import History
from oneoff.testing import Manage
from tests.support.shop import CREATE_ITEM, DROP_ITEM, INSERT_ONE, Shop


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with two revisions, on an empty database."""
    shop = Shop(tmp_path / "shop", database_url)
    shop.write("a1", None, CREATE_ITEM, DROP_ITEM)
    shop.write("a2", "a1", INSERT_ONE)
    return shop


@pytest.fixture
def history(tmp_path: Path, sqlite_url: str) -> Shop:
    """Return a project without revisions, on SQLite."""
    return Shop(tmp_path / "shop", sqlite_url)


async def test_a_check_finds_pending_revisions(shop: Shop) -> None:
    """The exit code is 3, and the data lists them."""
    found = await shop.manage("db migrate --check --json")

    assert (3, "migrations-pending") == (found.exit_code, found.json["error"]["code"])
    assert ["a1", "a2"] == [row["revision"] for row in found.json["data"]]
    assert set() == await shop.tables()


async def test_compiled_revisions_without_their_source_are_applied(shop: Shop) -> None:
    """As in an image that holds no source code."""
    versions = shop.root / "migrations" / "versions"
    assert compileall.compile_dir(versions, legacy=True, quiet=1)
    for source in versions.glob("*.py"):
        source.unlink()

    applied = await shop.manage("db migrate")

    assert "applied 2 revisions; the database is at a2" in applied.stdout, applied.stderr


@pytest.mark.parametrize("place", ["nested", "__pycache__"])
async def test_files_that_hold_no_revision_are_no_empty_history(shop: Shop, place: str) -> None:
    """An answer of "nothing to do" would be a green release without a table."""
    versions = shop.root / "migrations" / "versions"
    (versions / place).mkdir(exist_ok=True)
    for source in versions.glob("*.py"):
        source.rename(versions / place / source.name)

    refused = await shop.manage("db migrate")

    assert 1 == refused.exit_code
    assert "error[broken-revision]: migrations/versions holds 2 Python files" in refused.stderr


async def test_a_compiled_file_of_a_deleted_revision_is_no_revision(history: Shop) -> None:
    """Python leaves it in `__pycache__` when the only revision is deleted."""
    history.write("a1", None)
    assert compileall.compile_dir(history.versions, quiet=1)
    (history.versions / "a1.py").unlink()

    made = await history.manage("db create-migration -m first --empty")

    assert 0 == made.exit_code, made.stderr


async def test_a_check_passes_at_head(shop: Shop) -> None:
    """The exit code is 0."""
    await shop.manage("db migrate")

    assert 0 == (await shop.manage("db migrate --check")).exit_code


async def test_the_plan_lists_pending_revisions(shop: Shop) -> None:
    """It changes nothing."""
    planned = await shop.manage("db migrate --plan")

    assert (
        "revision  message\na1        Revision a1\na2        Revision a2\n2 revisions pending\n"
    ) == planned.stdout
    assert set() == await shop.tables()


async def test_a_dry_run_shows_the_sql(shop: Shop) -> None:
    """The SQL begins at the database's revision, and the database is not changed."""
    await shop.manage("db migrate --revision a1")

    shown = await shop.manage("db migrate --dry-run --json")

    assert 0 == shown.exit_code
    assert INSERT_ONE.split('"')[1] in shown.json["data"]
    assert "CREATE TABLE" not in shown.json["data"]
    assert "-- Running upgrade a1 -> a2" in shown.json["data"]
    assert ["a1"] == await shop.versions_applied()


async def test_a_dry_run_names_revisions_that_it_cannot_show(shop: Shop) -> None:
    """A revision that reads the database does not hide the others."""
    shop.write("a3", "a2", 'op.get_bind().execute(sa.text("SELECT 1")).scalar_one()')
    shop.write("a4", "a3", INSERT_ONE)

    shown = await shop.manage("db migrate --dry-run --json")

    assert 0 == shown.exit_code
    assert ["a3"] == [warning.partition(":")[0] for warning in shown.json["warnings"]]
    assert 2 == shown.json["data"].count(INSERT_ONE.split('"')[1])


async def test_a_percent_sign_is_shown_as_it_is(shop: Shop) -> None:
    """Some dialects would double it."""
    shop.write("a3", "a2", "op.execute(\"UPDATE item SET name = '100%'\")")

    shown = await shop.manage("db migrate --dry-run --json")

    assert "'100%'" in shown.json["data"]


async def test_the_error_for_an_unknown_revision_suggests_a_similar_one(history: Shop) -> None:
    """The operator made a typing error."""
    history.write("3f2a1c9d", None)

    failed = await history.manage("db migrate --revision 3f2b1c9d")

    assert 1 == failed.exit_code
    assert (
        "error[unknown-revision]: there is no revision '3f2b1c9d' in migrations/versions\n"
        "  try:  did you mean 3f2a1c9d?\n"
    ) in failed.stderr


async def test_the_beginning_of_several_identifiers_is_ambiguous(history: Shop) -> None:
    """It is not unknown: the error lists the revisions."""
    history.write("abcd1", None)
    history.write("abcd2", "abcd1")

    failed = await history.manage("db migrate --revision abcd")

    assert (
        "error[ambiguous-revision]: 2 revisions begin with 'abcd': abcd1, abcd2\n" in failed.stderr
    )


async def test_independent_branches_are_applied_together(history: Shop) -> None:
    """They are several heads on purpose, and need no merge."""
    history.write("a1", None)
    history.write("b1", None)

    failed = await history.manage("db migrate")
    done = await history.manage("db migrate --revision heads")
    again = await history.manage("db migrate --revision heads")
    status = await history.manage("db status --json")
    health = await history.manage("system health --json")

    assert (
        "error[multiple-heads]: the migrations have 2 heads: a1 and b1\n"
        "  why:  they are the ends of separate branches, so there is not one newest revision\n"
        "  try:  python manage.py migrate --revision heads\n"
    ) in failed.stderr
    assert (0, 0) == (done.exit_code, health.exit_code), done.stderr
    assert "nothing to do: the database is at a1, b1 (head)\n" == again.stdout
    assert not [text for text in status.json["warnings"] if "heads" in text]


async def test_labelled_branches_are_meant_although_they_begin_together(history: Shop) -> None:
    """The error names the way to apply both."""
    history.write("a1", None)
    for name, label in (("b1", "accounts"), ("b2", "bills")):
        history.write(name, "a1")
        file = history.versions / f"{name}.py"
        file.write_text(f"{file.read_text()}\nbranch_labels = {label!r}\n")

    failed = await history.manage("db migrate")
    one = await history.manage("db migrate --revision accounts@head")

    assert "try:  python manage.py migrate --revision heads\n" in failed.stderr
    assert (0, ["b1"]) == (one.exit_code, await history.versions_applied()), one.stderr


async def test_several_heads_are_refused_with_the_way_to_merge_them(history: Shop) -> None:
    """Their order is not defined."""
    history.write("a1", None)
    history.write("b1", "a1")
    history.write("b2", "a1")

    failed = await history.manage("db migrate")
    merged = await history.manage(["db", "create-migration", "--merge", "-m", "join"])
    done = await history.manage("db migrate")

    assert "error[multiple-heads]: the migrations have 2 heads: b1 and b2" in failed.stderr
    assert 'python manage.py db create-migration --merge -m "merge heads"' in failed.stderr
    assert (0, 0) == (merged.exit_code, done.exit_code)


async def test_a_database_that_newer_code_migrated_is_not_changed(shop: Shop) -> None:
    """The error says that a revision's file is missing."""
    await shop.manage("db migrate")
    (shop.versions / "a2.py").unlink()

    failed = await shop.manage("db migrate")

    assert 1 == failed.exit_code
    assert (
        "error[unknown-database-revision]: the database is at revision a2, "
        "which is not in migrations/versions"
    ) in failed.stderr


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def upgrade(:", "migrations/versions/bad.py:1 can't be loaded: SyntaxError"),
        ("import nowhere", "migrations/versions/bad.py:1 can't be loaded: ModuleNotFoundError"),
        ("revision, down_revision = 'a9', 'a8'", "the revisions are inconsistent"),
        ("revision, down_revision = 'a9', None", "migrations/versions/bad.py has no function"),
    ],
)
async def test_a_broken_revision_file_is_named(history: Shop, source: str, says: str) -> None:
    """With the line, if there is one."""
    (history.versions / "bad.py").write_text(source)

    failed = await history.manage("db migrate")

    assert 1 == failed.exit_code
    assert f"error[broken-revision]: {says}" in failed.stderr


async def test_two_files_with_one_identifier_are_refused(history: Shop) -> None:
    """Otherwise one of them would never run."""
    history.write("a1", None)
    shutil.copyfile(history.versions / "a1.py", history.versions / "copy.py")

    failed = await history.manage("db migrate")

    assert "the revisions are inconsistent: Revision a1 is present more than once" in (
        failed.stderr
    )


async def test_a_missing_env_py_is_a_configuration_error(history: Shop) -> None:
    """The exit code is 78."""
    (history.root / "migrations/env.py").unlink()

    failed = await history.manage("db migrate")

    assert 78 == failed.exit_code
    assert "error[no-migrations]: migrations/env.py does not exist" in failed.stderr


async def test_status_shows_applied_and_pending_revisions(shop: Shop) -> None:
    """The message shows the heads, the drift and the lock."""
    await shop.manage("db migrate --revision a1")

    status = await shop.manage("db status --json")

    rows = [(row["revision"], row["state"], bool(row["applied_at"])) for row in status.json["data"]]
    assert [("a1", "applied", True), ("a2", "pending", False)] == rows
    assert (
        "at a1; heads: a2; 1 pending; drift not checked while revisions are pending; lock free"
    ) == status.json["message"]


async def test_status_warns_of_drift(shop: Shop) -> None:
    """A table was created by hand."""
    await shop.manage("db migrate")
    await shop.query("CREATE TABLE by_hand (id INTEGER PRIMARY KEY)")

    status = await shop.manage("db status --json")

    assert ["drift: remove table by_hand"] == status.json["warnings"]


PLAIN = """\
revision: str = "a2"
down_revision: str | None = 'a1'  # the first
branch_labels = None
depends_on = None
"""


@pytest.mark.parametrize(
    "second",
    [
        PLAIN,
        'revision = "m"\ndown_revision = ("a1",)',
        'revision = "a2"\ndown_revision = "a1"\ndepends_on = "a1"',
        'revision = "a2"\ndown_revision = None',
        'revision = "a" + "2"\ndown_revision = "a1"',
        'revision = "a2"\ndown_revision = "a1"\nTEXT = """\nrevision = "a3"\n"""',
    ],
)
def test_the_head_read_from_text_is_empty_or_equal_to_alembics(history: Shop, second: str) -> None:
    """It is empty if a file is not written in the usual way."""
    functions = "\ndef upgrade(): ...\ndef downgrade(): ...\n"
    (history.versions / "a1.py").write_text(f'revision = "a1"\ndown_revision = None{functions}')
    (history.versions / "a2.py").write_text(second + functions)

    read = plain_head(history.versions.parent)

    assert read in ("", *History(history.versions.parent, history.root).heads)
    assert (second != PLAIN) or read == "a2"


def test_the_head_of_a_history_with_a_gap_is_left_to_alembic(history: Shop) -> None:
    """Alembic reports the missing revision."""
    history.write("a2", "a1")

    assert "" == plain_head(history.versions.parent)


async def test_revisions_in_a_zip_file_are_refused_with_the_reason(
    tmp_path: Path, sqlite_url: str
) -> None:
    """Alembic reads files from folders only."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    archive = make_archive(str(tmp_path / "shop"), "zip", shop.root)

    failed = await Manage("tests.support.shop:project", archive, shop.manage.environ)("db migrate")

    assert (78, "") == (failed.exit_code, failed.stdout)
    assert "error[no-migrations]: migrations/env.py does not exist\n" in failed.stderr
    assert f"  why:  {archive} is a file, and revisions are read from folders\n" in failed.stderr
