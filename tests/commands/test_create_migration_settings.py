"""`db create-migration` follows the project's settings of Alembic for new revision files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.alembic_project import OWN_MODELS, alembic, replace, write_env
from tests.support.shop import CREATE_ITEM, Shop

CONFIGURE = "connection=connection, target_metadata=target_metadata"
INI = "[alembic]\n"
HOOKS = "[post_write_hooks]\n"


@pytest.fixture(params=["async on postgres", "generic on sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """Return a project with the env.py and alembic.ini of `alembic init`, without revisions."""
    template, _, database = request.param.split()
    shop = Shop(tmp_path / "shop", request.getfixturevalue(f"{database}_url"))
    write_env(shop, template)
    return shop


@pytest.fixture
def sqlite_shop(tmp_path: Path, sqlite_url: str) -> Shop:
    """Return such a project on SQLite."""
    shop = Shop(tmp_path / "shop", sqlite_url)
    write_env(shop, "generic")
    return shop


def names(shop: Shop) -> list[str]:
    """Return the names of all files in the folder of the revisions, without compiled ones."""
    return sorted(path.name for path in shop.versions.rglob("*") if "pyc" not in path.name)


def set_directives(shop: Shop, body: str) -> None:
    """Let env.py change new revisions with a function of (context, revision, directives)."""
    env = shop.root / "migrations/env.py"
    replace(env, CONFIGURE, f"{CONFIGURE}, process_revision_directives=change")
    replace(
        env, OWN_MODELS, f"{OWN_MODELS}\ndef change(context, revision, directives):\n    {body}\n"
    )


def set_hook(shop: Shop, body: str) -> None:
    """Let a program change the text of new files: `text` is what it was, and `path` the file."""
    hook = shop.root / "hook.py"
    hook.write_text(
        "import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
        f"{body}\npath.write_text(text)\n"
    )
    replace(
        shop.root / "alembic.ini",
        HOOKS,
        f"{HOOKS}hooks = own\nown.type = exec\nown.executable = {sys.executable}\n"
        "own.options = hook.py REVISION_SCRIPT_FILENAME\n",
    )


async def test_an_env_py_that_connects_itself_can_be_used_to_write(shop: Shop) -> None:
    """The scratch database is another one than that of env.py."""
    written = await shop.manage("db create-migration -m first")
    migrated = await shop.manage("db migrate")

    assert (0, 0) == (written.exit_code, migrated.exit_code), written.stderr
    assert "nothing to do" in (await shop.manage("db create-migration -m x")).stdout
    assert "(head)" in alembic(shop, "current")


async def test_the_file_has_the_name_that_the_project_sets(sqlite_shop: Shop) -> None:
    """With file_template, truncate_slug_length and timezone."""
    replace(
        sqlite_shop.root / "alembic.ini",
        INI,
        f"{INI}file_template = %%(year)d/r_%%(rev)s_%%(slug)s\ntruncate_slug_length = 8\n"
        "recursive_version_locations = true\ntimezone = Asia/Tokyo\n",
    )

    written = await sqlite_shop.manage("db create-migration -m Long_words_here")

    assert 0 == written.exit_code, written.stderr
    (path,) = sqlite_shop.versions.glob("*/r_*.py")
    assert path.name.endswith("_long_.py")
    assert "+09:00" in path.read_text()
    assert 0 == (await sqlite_shop.manage("db migrate")).exit_code


async def test_a_file_is_never_replaced(sqlite_shop: Shop) -> None:
    """If file_template gives two revisions the same name, the second one is refused."""
    replace(sqlite_shop.root / "alembic.ini", INI, f"{INI}file_template = %%(slug)s\n")
    await sqlite_shop.manage("db create-migration -m same --empty")
    before = (sqlite_shop.versions / "same.py").read_text()

    refused = await sqlite_shop.manage("db create-migration -m same --empty")

    assert 1 == refused.exit_code
    assert "error[revision-file-exists]: the new revision would replace " in refused.stderr
    assert before == (sqlite_shop.versions / "same.py").read_text()


async def test_the_template_of_the_project_is_used(shop: Shop) -> None:
    """With the arguments that env.py passes to it."""
    replace(
        shop.root / "migrations/script.py.mako",
        "import sqlalchemy as sa",
        "import sqlalchemy as sa\n# of ${owner}",
    )
    env = shop.root / "migrations/env.py"
    replace(env, CONFIGURE, f"{CONFIGURE}, template_args={{'owner': 'nobody'}}")

    written = await shop.manage("db create-migration -m first")

    assert 0 == written.exit_code, written.stderr
    (path,) = shop.versions.glob("*.py")
    assert "# of nobody\n" in path.read_text()
    assert path.name.endswith("_first.py")
    assert 0 == (await shop.manage("db migrate")).exit_code


async def test_a_template_that_can_t_be_rendered_leaves_nothing(sqlite_shop: Shop) -> None:
    """The error says what is wrong with it."""
    replace(sqlite_shop.root / "migrations/script.py.mako", "${message}", "${mesage.upper()}")

    failed = await sqlite_shop.manage("db create-migration -m first")

    assert 1 == failed.exit_code
    assert "error[unrenderable-models]: the generated revision can't be written" in failed.stderr
    assert [] == names(sqlite_shop)


async def test_env_py_can_change_the_revision(shop: Shop) -> None:
    """Its identifier, and its operations; a check sees what is left of them."""
    body = (
        "directives[0].rev_id = '0001'; "
        "directives[0].upgrade_ops.ops = directives[0].upgrade_ops.ops[:1]; "
        "directives[0].downgrade_ops.ops = directives[0].downgrade_ops.ops[-1:]"
    )
    set_directives(shop, body)

    written = await shop.manage("db create-migration -m first")

    assert 0 == written.exit_code, written.stderr
    assert ["add table item"] == [row["operation"] for row in written.result.data]
    assert "after it, the models still differ: add index ix_item_name on item" in written.stderr
    assert ["0001_first.py"] == names(shop)
    assert "create_index" not in (shop.versions / "0001_first.py").read_text()


async def test_what_env_py_removes_is_no_drift(shop: Shop) -> None:
    """As with `alembic check`."""
    set_directives(shop, "directives[0].upgrade_ops.ops = []")

    checked = await shop.manage("db create-migration --check")

    assert (0, "nothing to do: ") == (checked.exit_code, checked.stdout[:15]), checked.stderr


async def test_env_py_can_leave_out_a_revision(sqlite_shop: Shop) -> None:
    """A common way not to get files without operations."""
    set_directives(sqlite_shop, "directives[:] = []")

    done = await sqlite_shop.manage("db create-migration -m first")
    empty = await sqlite_shop.manage("db create-migration -m first --empty")

    assert (0, "nothing to do") == (done.exit_code, done.stdout[:13]), done.stderr
    # As with Alembic, only `revision_environment` lets env.py change an empty revision.
    assert (0, 1) == (empty.exit_code, len(names(sqlite_shop)))


async def test_several_revisions_of_env_py_are_tried_and_written_together(shop: Shop) -> None:
    """Here the operations are divided into two revisions."""
    body = """
    from alembic.operations import ops
    (one,) = directives
    up, down = one.upgrade_ops.ops, one.downgrade_ops.ops
    one.rev_id = "a1"
    directives.append(ops.MigrationScript(
        "a2", ops.UpgradeOps(up[1:]), ops.DowngradeOps(down[:-1]), message="second", head="a1"))
    one.upgrade_ops.ops, one.downgrade_ops.ops = up[:1], down[-1:]"""
    set_directives(shop, body)

    written = await shop.manage("db create-migration -m first")
    migrated = await shop.manage("db migrate")

    assert ["a1_first.py", "a2_second.py"] == names(shop), written.stderr
    assert "applied 2 revisions; the database is at a2" in migrated.stdout


async def test_hooks_get_the_file_in_its_place(sqlite_shop: Shop) -> None:
    """What they print does not disturb the result, and their exit codes are warnings."""
    body = "print('path', path)\npath.write_text(f'{text}# {path.parent.name}\\n')\nsys.exit(3)"
    set_hook(sqlite_shop, body)

    written = await sqlite_shop.manage("db create-migration -m first --json")

    assert 0 == written.exit_code, written.stderr
    (path,) = sqlite_shop.versions.glob("*.py")
    assert path.read_text().endswith("# versions\n")
    assert f"a post-write hook ended with exit code 3: path {path}" in written.json["warnings"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("text = text.replace('create_table', 'create_tables')", "error[unverified-revision]"),
        ("text = 'def ('", "the generated revision is not valid Python"),
        ("text = text.replace('drop_table', 'f')", "error[unverified-revision]"),
    ],
)
async def test_what_a_hook_has_made_of_the_file_is_tried_again(
    shop: Shop, body: str, says: str
) -> None:
    """Nothing is left of it if that fails."""
    set_hook(shop, body)

    failed = await shop.manage("db create-migration -m first")

    assert (1, []) == (failed.exit_code, names(shop)), failed.stderr
    assert says in failed.stderr


async def test_a_hook_that_can_t_be_run_leaves_nothing(sqlite_shop: Shop) -> None:
    """The error names it."""
    ini = sqlite_shop.root / "alembic.ini"
    replace(ini, HOOKS, f"{HOOKS}hooks = a\na.type = exec\na.executable = /nowhere/tool\n")

    failed = await sqlite_shop.manage("db create-migration -m first")

    assert (1, []) == (failed.exit_code, names(sqlite_shop))
    assert "error[post-write-hook-failed]" in failed.stderr
    assert "/nowhere/tool" in failed.stderr


async def test_an_empty_revision_is_said_not_to_be_tried(sqlite_shop: Shop) -> None:
    """It has nothing to try before it is filled in."""
    written = await sqlite_shop.manage("db create-migration -m fill --empty")

    assert written.stdout.endswith("; it is empty, so it was not tried\n")


@pytest.mark.parametrize("same", [True, False])
async def test_a_merge_is_tried(shop: Shop, *, same: bool) -> None:
    """Branches that can't be applied one after the other are not merged."""
    add = 'op.add_column("item", sa.Column("{0}", sa.Text))', 'op.drop_column("item", "{0}")'
    shop.write("a1", None, CREATE_ITEM, 'op.drop_table("item")')
    for name in ("b1", "b2"):
        column = "note" if same else name
        shop.write(name, "a1", *(one.format(column) for one in add))

    merged = await shop.manage("db create-migration --merge -m merge")

    assert int(same) == merged.exit_code, merged.stderr
    assert same == ("error[unverified-revision]" in merged.stderr)
    assert (3 if same else 4) == len(names(shop))
