"""`data import` of files that only have the name of a csv file."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from oneoff.testing import Manage
from tests.support.database import open_sqlite
from tests.support.imports import load, names

ROWS = b"name\nci\n"
pytestmark = pytest.mark.parametrize("manage_environ", ["sqlite"], indirect=True)


def zipped(name: str) -> bytes:
    """Return a zip archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, ROWS)
    return buffer.getvalue()


def tarred() -> bytes:
    """Return a tar archive of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("rows.csv")
        member.size = len(ROWS)
        archive.addfile(member, io.BytesIO(ROWS))
    return buffer.getvalue()


KINDS = {
    "zip": (zipped("rows.csv"), "is a zip archive", "unzip -p "),
    "xlsx": (zipped("xl/workbook.xml"), "is a workbook", "save the sheet as csv"),
    "openpyxl": (zipped("docProps/app.xml"), "is a workbook", "save the sheet as csv"),
    "ods": (zipped("[Content_Types].xml"), "is a workbook", "save the sheet as csv"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + ROWS, "is a workbook of an old Excel", "sheet"),
    "bz2": (bz2.compress(ROWS), "is compressed with bzip2", "bzip2 -dc "),
    "xz": (lzma.compress(ROWS), "is compressed with xz", "xz -dc "),
    "tar": (tarred(), "is a tar archive", "tar -xOf "),
    "tar.gz": (gzip.compress(tarred()), "is a tar archive", "tar -xOf "),
    "gz.gz": (gzip.compress(gzip.compress(ROWS)), "is compressed twice", "gzip -dc "),
    "html": (b"\r\n<!DOCTYPE html>\n<title>Sign in</title>", "is a web page", "address"),
    "xml": (b'<?xml version="1.0"?><rows/>', "is XML", "as csv or JSON"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "is a PDF document", "as csv"),
    "utf-32": ("name\nci\n".encode("utf-32"), "is UTF-32", "iconv -f UTF-32 "),
}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_of_another_kind_is_named(
    manage: Manage, tmp_path: Path, kind: str, suffix: str
) -> None:
    """With the way to get its rows. The error is not about an encoding."""
    data, problem, advice = KINDS[kind]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)

    done = await load(manage, path, "--json")

    error = json.loads(done.stdout)["error"]
    assert 65 == done.exit_code
    assert f"{path} {problem}" == error["message"]
    assert advice in error["try"][0]


async def test_a_sqlite_database_is_named(manage: Manage, tmp_path: Path) -> None:
    """Its rows can be exported by the sqlite3 shell."""
    path = tmp_path / "a.csv"
    with open_sqlite(f"sqlite:///{path}") as connection:
        connection.execute("CREATE TABLE t (id)")

    done = await load(manage, path)

    assert 65 == done.exit_code
    assert f"{path} is a SQLite database" in done.stderr


@pytest.mark.parametrize("name", ["ORCID", "BZh", "Rar!", "PK", "PGDMP", "ustar", "<b>"])
async def test_a_name_may_look_like_a_signature(manage: Manage, tmp_path: Path, name: str) -> None:
    """Only the entire signature counts."""
    path = tmp_path / "a.csv"
    path.write_text(f"{name},name\n1,ci\n")

    done = await load(manage, path, "--columns", "name")

    assert 0 == done.exit_code, done.stderr
    assert ["ci"] == names(manage)
