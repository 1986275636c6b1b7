"""Commands are listed from source text, with an index that is never stale."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oneoff.runtime.registry import index_cache
from oneoff.runtime.registry.entry import Entry, Listing
from oneoff.runtime.registry.registry import Registry
from oneoff.runtime.registry.source_facts import read_source_facts

COMMAND = '''
from oneoff import BaseCommand, Result


class Report(BaseCommand):
    """Write a report."""

    async def handle(self) -> Result:
        return Result.unchanged("written")
'''
Write = Callable[..., Listing]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes files and lists the commands of `third` and `fourth`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def write_files(**texts: str) -> Listing:
        for name, text in {"third/__init__": "", "fourth/__init__": "", **texts}.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Registry(("third", "fourth"), str(tmp_path)).listing()

    return write_files


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of files that were just written."""
    monkeypatch.setattr(index_cache, "SETTLED_NS", -1)


def only(listing: Listing) -> Entry:
    """Return the only entry of a listing."""
    (entry,) = listing.entries
    return entry


def test_summaries_come_from_the_source_and_nothing_is_imported(write: Write) -> None:
    """A module that can't be imported is listed like any other."""
    entry = only(write(**{"third/report": "import nowhere_at_all" + COMMAND}))

    assert ("report", "Write a report.", "") == (entry.name, entry.summary, entry.broken)
    assert "third" not in sys.modules


@pytest.mark.parametrize(
    "source",
    [
        'class A(BaseCommand):\n    """Say it."""\n',
        'class A(BaseCommand):\n\n    # why\n    r"""\n    Say it.\n\n    More.\n    """\n',
        "class A(\n    Mixin,\n    BaseCommand,\n):\n    'Say it.'\n",
        'class _Base(BaseCommand):\n    """No."""\n\n\nclass A(MyCommand):\n    """Say it."""\n',
        'class K(Enum):\n    """No."""\n\n\nclass A(oneoff.BaseCommand):  # x\n    """Say it."""',
        'class A(BaseCommand):\n    """Say it."""\n\n\nclass Kind(Enum):\n    """No."""\n',
        'class A(BaseCommand):\n    """Say it."""\n\n\nclass _B(BaseCommand):\n    """No."""\n',
        'class A(Report):\n    """Say it."""\n\n    x = """no"""\n',
    ],
)
def test_the_summary_is_the_first_line_of_the_commands_docstring(
    source: str, tmp_path: Path
) -> None:
    """The class may be written in various ways."""
    path = tmp_path / "a.py"
    path.write_text(source)

    assert "Say it." == read_source_facts(str(path), "a").summary


def test_a_command_without_docstring_has_no_summary(write: Write) -> None:
    """The text of its first attribute does not count as docstring."""
    source = 'class A(BaseCommand):\n    text = """no"""\n'

    assert "" == only(write(**{"third/report": source})).summary


def test_a_group_takes_its_summary_from_its_package(write: Write) -> None:
    """The summary is in the docstring of `__init__.py`; a group without one has none."""
    listing = write(
        **{
            "third/user/__init__": '# note\n"""Accounts.\n\nMore."""\n',
            "third/user/show": COMMAND,
            "third/data/export": COMMAND,
        }
    )

    assert {"data": "", "user": "Accounts."} == listing.groups


def test_an_alias_shows_the_summary_of_its_target(write: Write) -> None:
    """It works through another alias and with a relative import too."""
    listing = write(
        **{
            "third/db/migrate": COMMAND,
            "third/migrate": 'from .db.migrate import Report\n\n__all__ = ["Report"]\n',
            "fourth/update": 'from third.migrate import Report\n\n__all__ = ["Report"]\n',
        }
    )

    shown = [(entry.name, entry.summary, entry.alias_of) for entry in listing.entries]
    assert [
        ("migrate", "Write a report.", "db migrate"),
        ("update", "Write a report.", "db migrate"),
        ("db migrate", "Write a report.", ""),
    ] == shown


def test_an_alias_of_a_module_outside_the_commands_shows_its_summary(write: Write) -> None:
    """The target is located by its path, not imported."""
    listing = write(
        **{
            "library/__init__": "raise RuntimeError",
            "library/tools": COMMAND,
            "third/tool": 'from library.tools import Report\n\n__all__ = ["Report"]\n',
        }
    )

    assert "Write a report." == only(listing).summary


def test_a_circle_of_aliases_is_listed_without_summary(write: Write) -> None:
    """The listing ends; loading such an alias reports the problem."""
    listing = write(
        **{
            "third/a": 'from third.b import X\n\n__all__ = ["X"]\n',
            "third/b": 'from third.a import X\n\n__all__ = ["X"]\n',
        }
    )

    assert ["", ""] == [entry.summary for entry in listing.entries]


def test_a_syntax_error_is_shown_with_file_and_line(write: Write) -> None:
    """The other commands are still listed."""
    listing = write(**{"third/good": COMMAND, "third/bad": COMMAND + "\nclass X(:\n"})

    assert ["third/bad.py:11: invalid syntax", ""] == [entry.broken for entry in listing.entries]


@pytest.mark.filterwarnings("error")
def test_warnings_of_the_compiler_are_not_shown(write: Write) -> None:
    r"""A list of commands must not warn about `"\d"`."""
    assert "" == only(write(**{"third/report": COMMAND + '\nX = "\\d"\n'})).broken


def test_a_collision_is_shown_as_broken(write: Write) -> None:
    """Both files are named."""
    entry = only(write(**{"third/report": COMMAND, "fourth/report": COMMAND}))

    assert "fourth/report.py: third/report.py has this name too" == entry.broken


def test_an_override_is_shown_once(write: Write) -> None:
    """The later command is shown."""
    overriding = COMMAND.replace("    async", "    overrides = True\n\n    async")
    entry = only(write(**{"third/report": COMMAND, "fourth/report": overriding}))

    assert ("fourth", "third/report.py", "") == (entry.package, entry.replaces, entry.broken)


def test_a_command_with_the_name_of_a_group_is_shown_as_broken(write: Write) -> None:
    """The commands in the group are not broken."""
    listing = write(**{"third/report": COMMAND, "fourth/report/daily": COMMAND})

    assert ["third/report.py: a group has this name too", ""] == [
        entry.broken for entry in listing.entries
    ]


def test_the_order_of_commands_does_not_depend_on_the_file_system(write: Write) -> None:
    """Commands without a group come first, and both parts are sorted by name."""
    listing = write(
        **{"third/b/x": COMMAND, "third/z": COMMAND, "fourth/a": COMMAND, "fourth/b/a": COMMAND}
    )

    assert ["a", "z", "b a", "b x"] == [entry.name for entry in listing.entries]


@pytest.mark.usefixtures("settled")
def test_the_second_listing_reads_no_source_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index contains the facts that the first listing read."""
    before = only(write(**{"third/report": COMMAND}))
    monkeypatch.setattr(index_cache, "read_source_facts", None)

    registry = Registry(("third", "fourth"), str(Path(before.path).parent.parent))

    assert "Write a report." == only(registry.listing()).summary


@pytest.mark.usefixtures("settled")
def test_a_change_that_keeps_size_and_modification_time_is_noticed(
    write: Write, tmp_path: Path
) -> None:
    """A tool may restore the modification time, so the index compares the change time too."""
    first = only(write(**{"third/report": COMMAND}))
    stat = Path(first.path).stat()
    Path(first.path).write_text(COMMAND.replace("Write", "Print"))
    os.utime(first.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    again = only(Registry(("third",), str(tmp_path)).listing())

    assert "Print a report." == again.summary


def test_a_file_that_was_just_written_is_not_cached(write: Write, tmp_path: Path) -> None:
    """A second change within one tick of the file system's clock would not be noticed."""
    write(**{"third/report": COMMAND})

    assert not [path for path in (tmp_path / "cache").rglob("*") if "report" in path.read_text()]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", b"\t", None])
def test_a_damaged_index_is_harmless(write: Write, tmp_path: Path, content: bytes | None) -> None:
    """It is written again. None means a truncated index, a tab one with too many tabs."""
    write(**{"third/report": COMMAND})
    (index,) = (tmp_path / "cache" / "oneoff").glob("*third.index")
    whole = index.read_bytes()
    damaged = {None: whole[:-2], b"\t": whole.replace(b"\t", b"\t\t")}
    index.write_bytes(damaged.get(content, content or b""))

    assert "Write a report." == only(write()).summary


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [("cpython", "other"), ("/third", "/elsewhere")])
def test_an_index_of_another_python_or_folder_is_not_used(
    write: Write, tmp_path: Path, change: tuple[str, str]
) -> None:
    """Pythons accept different syntax, and two long paths may share an index file."""
    write(**{"third/report": COMMAND})
    (index,) = (tmp_path / "cache" / "oneoff").glob("*third.index")
    index.write_text(index.read_text().replace(*change).replace("Write", "Forge"))

    assert "Write a report." == only(write()).summary


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("home", ["/proc/nowhere", "relative"])
@pytest.mark.parametrize("cache", ["/proc/nowhere", "relative", ""])
def test_a_cache_that_can_not_be_written_is_ignored(
    write: Write, cache: str, home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The home may be read-only or missing; nothing is written to the current folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(tmp_path)

    assert "Write a report." == only(write(**{"third/report": COMMAND})).summary
    assert not (tmp_path / "relative").exists()


def test_listing_in_parallel_leaves_one_complete_index(tmp_path: Path) -> None:
    """Eight processes read and write the same index at the same time."""
    package = tmp_path / "fifth"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for number in range(20):
        (package / f"report_{number:02}.py").write_text(COMMAND)
    script = (
        "import sys; from oneoff.runtime.registry import index_cache; index_cache.SETTLED_NS = -1;"
        "from oneoff.runtime.registry.registry import Registry;"
        f"print(len(Registry(('fifth',), {str(tmp_path)!r}).listing().entries))"
    )
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environ)
        for _ in range(8)
    ]

    assert [b"20\n"] * 8 == [process.communicate()[0] for process in running]
    (index,) = (tmp_path / "cache" / "oneoff").iterdir()
    assert 22 == len(index.read_text().splitlines())


def test_listing_names_reads_no_source_file(write: Write, tmp_path: Path) -> None:
    """Only the folders are read."""
    write(**{"third/report": "\0"})

    assert ["report"] == Registry(("third",), str(tmp_path)).names()
