"""`db backup`."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from pathlib import Path

import pytest

from oneoff.services.data.files import _rename
from tests.support.backups import (
    backed_up,
    migrated,
    mode_of,
    names_in,
    only_programs,
    read_manifest,
)
from tests.support.shop import Shop

VERSION = '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {}" && exit\n'
KILLED = "printf half; kill -KILL $$\n"
WITHOUT_ZSTD = """\
case "$*" in *zstd*) echo "pg_dump: error: no support for zstd" >&2; printf "%050d" 0; exit 1; esac
printf "%s " "$@"
"""


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> Shop:
    """Return a project with two revisions, both applied."""
    return await migrated(Shop(tmp_path / "shop", database_url))


@pytest.fixture
async def postgres_shop(tmp_path: Path, postgres_url: str) -> Shop:
    """Return the same on PostgreSQL."""
    return await migrated(Shop(tmp_path / "shop", postgres_url))


async def test_the_manifest_describes_the_file(shop: Shop, tmp_path: Path) -> None:
    """Only their owner can read the two files, and the record says what was written."""
    file = tmp_path / "shop.dump"

    done = await shop.manage(f"db backup -o {file} --json")

    assert 0 == done.exit_code, done.stdout
    manifest = read_manifest(file)
    assert {"format": 1} | done.json["data"] == {"path": str(file), **manifest}
    assert ["shop", "test", ["a2"], done.json["run_id"], file.stat().st_size] == [
        manifest[key] for key in ("project", "environment", "revisions", "run", "size")
    ]
    assert [0o600] * 2 == [mode_of(Path(f"{file}{end}")) for end in ("", ".json")]
    assert [("succeeded", done.json["message"])] == await shop.query(
        "SELECT status, message FROM oneoff_runs WHERE command = 'db backup'"
    )


async def test_the_default_name_has_database_environment_and_time(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the current folder; `--quiet` prints the path alone."""
    monkeypatch.chdir(tmp_path)

    done = await shop.manage("db backup --quiet")

    name = shop.database().url.name
    assert re.fullmatch(rf"{tmp_path}/{name}-test-20\d{{6}}T\d{{6}}Z\.\w+\n", done.stdout)
    assert {*map(os.path.basename, (done.stdout[:-1], f"{done.stdout[:-1]}.json"))} < names_in(
        tmp_path
    )


async def test_an_existing_file_is_replaced_only_if_asked(shop: Shop, tmp_path: Path) -> None:
    """A manifest without its backup is a file too."""
    file = await backed_up(shop, tmp_path / "shop.dump")
    before = file.read_bytes()

    refused = await shop.manage(f"db backup -o {file}")
    unchanged = file.read_bytes() == before
    file.unlink()
    by_manifest = await shop.manage(f"db backup -o {file}")
    replaced = await shop.manage(f"db backup -o {file} --overwrite")

    assert [1, 1, 0] == [refused.exit_code, by_manifest.exit_code, replaced.exit_code]
    assert "error[file-exists]" in refused.stderr
    assert unchanged


@pytest.mark.parametrize("failing", ["shop.dump", "shop.dump.json"])
async def test_the_old_pair_stays_until_the_new_one_is_complete(
    sqlite_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """If one of the two files does not get its name, both are those of the last backup."""
    shop = await migrated(sqlite_shop)
    file = await backed_up(shop, tmp_path / "shop.dump")
    before = [file.read_bytes(), read_manifest(file), names_in(tmp_path)]

    def rename(partial: str, path: str, *, overwrite: bool) -> None:
        _rename(partial, path, overwrite=overwrite)
        if path.endswith(failing):
            raise OSError(errno.EIO, "the folder can't be flushed")

    monkeypatch.setattr("oneoff.services.data.files._rename", rename)
    done = await shop.manage(f"db backup -o {file} --overwrite")

    assert 1 == done.exit_code, done.stderr
    assert before == [file.read_bytes(), read_manifest(file), names_in(tmp_path)]


@pytest.mark.parametrize("links", ["hard links", "none"])
async def test_a_kill_between_the_two_names_leaves_the_last_backup_to_the_operator(
    sqlite_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    """The next backup removes what is incomplete, and not this one."""
    shop = await migrated(sqlite_shop)
    file = await backed_up(shop, tmp_path / "shop.dump")
    before = {file.read_bytes(), (tmp_path / "shop.dump.json").read_bytes()}
    killed = tmp_path / "killed"

    def rename(partial: str, path: str, *, overwrite: bool) -> None:
        _rename(partial, path, overwrite=overwrite)
        if not killed.exists():
            killed.mkdir()
            for found in tmp_path.glob("*shop.dump*"):
                (killed / found.name).write_bytes(found.read_bytes())

    def link(*_: str) -> None:
        raise OSError(errno.EPERM, "this file system has no hard links")

    monkeypatch.setattr("oneoff.services.data.files._rename", rename)
    if links == "none":
        monkeypatch.setattr("os.link", link)
    for name in (file, killed / "shop.dump"):
        done = await shop.manage(f"db backup -o {name} --overwrite")
        assert 0 == done.exit_code, done.stderr

    kept = {(killed / name).read_bytes() for name in names_in(killed) if name.endswith(".old")}
    assert before == kept
    assert [] == [name for name in names_in(killed) if name.endswith(".partial")]
    assert [] == [name for name in names_in(tmp_path) if name.endswith(".old")]


async def test_a_database_without_tables_can_be_backed_up(
    tmp_path: Path, database_url: str
) -> None:
    """A warning says that the backup is not in the record."""
    shop = Shop(tmp_path / "shop", database_url)
    await shop.query("CREATE TABLE by_hand (id INTEGER PRIMARY KEY)")

    done = await shop.manage(f"db backup -o {tmp_path}/shop.dump")

    assert 0 == done.exit_code, done.stderr
    assert "not in the record" in done.stderr


async def test_a_sqlite_file_that_does_not_exist_is_not_created(
    sqlite_shop: Shop, tmp_path: Path
) -> None:
    """Neither it nor a backup."""
    done = await sqlite_shop.manage(f"db backup -o {tmp_path}/shop.dump")

    assert 1 == done.exit_code
    assert {"shop"} == names_in(tmp_path)


async def test_a_pg_dump_older_than_the_server_is_refused(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what to install, and nothing is written."""
    environ = only_programs(
        monkeypatch, tmp_path / "bin", pg_dump=VERSION.format("9.6.1") + "exit 3"
    )

    done = await postgres_shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)

    assert 78 == done.exit_code
    assert "error[client-too-old]: pg_dump 9 is older than the server, which is" in done.stderr
    assert "apt-get install postgresql-client-" in done.stderr
    assert {"bin", "shop"} == names_in(tmp_path)


async def test_without_a_pg_dump_the_message_says_what_to_install(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is that of the server."""
    environ = only_programs(monkeypatch, tmp_path / "bin") | {"PATH": f"{tmp_path}/bin"}

    done = await postgres_shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)

    assert 78 == done.exit_code
    assert "error[client-not-found]: pg_dump is not installed" in done.stderr


async def test_a_backup_through_a_pooler_is_refused(
    postgres_shop: Shop, pgbouncer_url: str, tmp_path: Path
) -> None:
    """pg_dump would leave its settings in the session of another client."""
    environ = {"DATABASE_URL": pgbouncer_url}

    done = await postgres_shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)

    assert 78 == done.exit_code
    assert "error[pooler-without-direct-url]" in done.stderr


async def test_a_killed_pg_dump_leaves_no_file(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a part of one, or a manifest."""
    environ = only_programs(monkeypatch, tmp_path / "bin", pg_dump=VERSION.format("99.1") + KILLED)

    done = await postgres_shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)

    assert "pg_dump was ended by SIGKILL" in done.stderr
    assert {"bin", "shop"} == names_in(tmp_path)


async def test_a_cancelled_backup_leaves_no_file(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump is ended, which ends its query on the server."""
    os.mkfifo(tmp_path / "started")
    source = f"{VERSION.format('99.1')}echo $$ > {tmp_path}/started; exec sleep 60"
    environ = only_programs(monkeypatch, tmp_path / "bin", pg_dump=source)
    line = f"db backup -o {tmp_path}/shop.dump"
    running = asyncio.ensure_future(postgres_shop.manage(line, environ=environ))
    process = int(await asyncio.to_thread((tmp_path / "started").read_text))

    running.cancel()
    done = await running

    assert 130 == done.exit_code
    assert {"bin", "shop", "started"} == names_in(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_a_pg_dump_without_zstd_compresses_with_its_default(
    postgres_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the first attempt is in the file. No argument names the database."""
    source = VERSION.format("99.1") + WITHOUT_ZSTD
    environ = only_programs(monkeypatch, tmp_path / "bin", pg_dump=source)

    done = await postgres_shop.manage(f"db backup -o {tmp_path}/shop.dump", environ=environ)

    assert 0 == done.exit_code, done.stderr
    assert "--format=custom --no-password " == (tmp_path / "shop.dump").read_text()
