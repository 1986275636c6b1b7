"""The registry finds a command by its path, and imports only that one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.runtime.registry.packages import locate
from oneoff.runtime.registry.registry import Registry

COMMAND = '''
from oneoff import BaseCommand, Result


class Report(BaseCommand):
    """Write a report."""

    async def handle(self) -> Result:
        return Result.unchanged("written")
'''
OVERRIDING = COMMAND.replace("    async", "    overrides = True\n\n    async")
Write = Callable[..., Registry]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes files and returns the registry of `first` and `second`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write_files(**texts: str) -> Registry:
        for name, text in {"first/__init__": "", "second/__init__": "", **texts}.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Registry(("first", "second"), str(tmp_path))

    yield write_files
    for name in list(sys.modules):
        if name.partition(".")[0] in {"first", "second"}:
            del sys.modules[name]


def test_the_name_of_a_command_is_its_path(write: Write) -> None:
    """Folders are groups, and an underscore is typed as a dash."""
    registry = write(**{"first/user/reset_password": COMMAND})

    entry, rest = registry.find(["user", "reset-password", "ada", "--json"])

    assert "user reset-password" == entry.name
    assert "first/user/reset_password.py" == entry.file
    assert ["ada", "--json"] == rest


def test_the_longest_matching_name_is_used(write: Write) -> None:
    """A word is an argument only if no command in a subgroup has this name."""
    registry = write(**{"first/report": COMMAND, "second/report_daily": COMMAND})

    assert ["daily"] == registry.find(["report", "daily"])[1]
    assert "report-daily" == registry.find(["report-daily"])[0].name


def test_finding_a_command_imports_nothing(write: Write) -> None:
    """Neither its module nor the packages above it are imported."""
    registry = write(**{"first/user/show": "raise RuntimeError"})

    registry.find(["user", "show"])

    assert not [name for name in sys.modules if name.partition(".")[0] == "first"]


def test_loading_a_command_imports_only_its_module(write: Write) -> None:
    """Other modules in the folder are not imported."""
    registry = write(**{"first/user/show": COMMAND, "first/user/list": "raise RuntimeError"})

    command = registry.load(registry.find(["user", "show"])[0])

    assert "Write a report." == command.summary()
    assert "first.user.list" not in sys.modules


def test_private_files_are_not_commands(write: Write) -> None:
    """Names that start with an underscore and folders of byte code are ignored."""
    registry = write(**{"first/_base": COMMAND, "first/__pycache__/old": COMMAND})

    assert [] == registry.names()


def test_a_name_typed_with_underscores_gets_the_right_spelling_suggested(write: Write) -> None:
    """A command has only one spelling, with dashes."""
    registry = write(**{"first/reset_password": COMMAND})

    with pytest.raises(UsageError, match="did you mean reset-password"):
        registry.find(["reset_password"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("user promot ada", "user promote"),
        ("usr promote ada", "user promote"),
        ("promote ada", "user promote"),
        ("promote user ada", "user promote"),
        ("User Promote", "user promote"),
        ("USER PROMOTE ada", "user promote"),
    ],
)
def test_a_wrong_name_gets_a_suggestion(write: Write, typed: str, meant: str) -> None:
    """A typing error, a missing group and words in the wrong order are recognised."""
    registry = write(**{"first/user/promote": COMMAND, "first/cache/clear": COMMAND})

    with pytest.raises(UsageError) as caught:
        registry.find(typed.split())

    assert "unknown-command" == caught.value.code
    assert caught.value.message.endswith(f"is not a command; did you mean {meant}?")


def test_arguments_are_not_repeated_in_the_error(write: Write) -> None:
    """The words after the wrong name may be anything, even a secret."""
    registry = write(**{"first/user/promote": COMMAND})

    with pytest.raises(UsageError) as caught:
        registry.find(["nonsense", "hunter2"])

    assert "'nonsense' is not a command" == caught.value.message


@pytest.mark.parametrize("typed", ["user promote", "User Promote", "user promote hunter2 --x"])
def test_a_name_in_quotes_is_explained(write: Write, typed: str) -> None:
    """The name arrives as one word; the text after the name is not repeated."""
    registry = write(**{"first/user/promote": COMMAND})

    with pytest.raises(UsageError) as caught:
        registry.find([typed])

    assert "'user promote' in quotes is one word, not a command; write it without quotes" == (
        caught.value.message
    )


@pytest.mark.parametrize("typed", ["--dry-run user promote ada", "--timeout 5m user promote"])
def test_an_option_before_the_name_is_refused_with_advice(write: Write, typed: str) -> None:
    """The command is found nevertheless, for the advice to show its help."""
    registry = write(**{"first/user/promote": COMMAND, "first/cache/clear": COMMAND})
    option = typed.partition(" ")[0]

    with pytest.raises(UsageError) as caught:
        registry.find(typed.split())

    assert f"{option} can't come before the command's name; put it after the name" == (
        caught.value.message
    )
    assert ("python manage.py user promote --help",) == caught.value.try_


def test_the_name_of_a_group_is_recognised(write: Write) -> None:
    """The command line may end before the name of a command is complete."""
    registry = write(**{"first/user/promote": COMMAND})

    assert "user" == registry.group_named(["user"])
    assert "" == registry.group_named(["user", "promote"])
    assert "" == registry.group_named([])
    assert "user" == registry.group_named(["user", "--help"])


def test_an_option_inside_a_name_is_explained(write: Write) -> None:
    """`user --json list` lists the commands of the group."""
    registry = write(**{"first/user/list": COMMAND})

    with pytest.raises(UsageError, match="'user' is a group of commands: user list"):
        registry.find(["user", "--json", "list"])


def test_a_folder_without_commands_is_not_a_group(write: Write) -> None:
    """A package of commands may contain data files."""
    registry = write(**{"first/data/__init__": ""})

    assert "" == registry.group_named(["data"])


def test_two_commands_with_one_name_are_an_error_that_names_both_files(write: Write) -> None:
    """No command is overridden by accident."""
    registry = write(**{"first/report": COMMAND, "second/report": COMMAND})

    with pytest.raises(ConfigurationError) as caught:
        registry.find(["report"])

    assert "command-collision" == caught.value.code
    assert "two commands are named 'report': first/report.py and second/report.py" == (
        caught.value.message
    )


def test_a_collision_does_not_affect_other_commands(write: Write) -> None:
    """Only the name with two files is refused."""
    registry = write(
        **{"first/report": COMMAND, "second/report": COMMAND, "first/migrate": COMMAND}
    )

    assert "migrate" == registry.find(["migrate"])[0].name


def test_a_class_with_overrides_replaces_the_earlier_command(write: Write) -> None:
    """The command of the later package is used if its class sets `overrides = True`."""
    registry = write(**{"first/report": COMMAND, "second/report": OVERRIDING})

    entry, _ = registry.find(["report"])

    assert ("second/report.py", "first/report.py") == (entry.file, entry.replaces)
    assert registry.load(entry).overrides


def test_overrides_is_checked_again_on_the_loaded_class(write: Write) -> None:
    """Text that only resembles the declaration does not count."""
    pretending = COMMAND + "\n\nclass _Other:\n    overrides = True\n"
    registry = write(**{"first/report": COMMAND, "second/report": pretending})

    with pytest.raises(ConfigurationError, match="two commands are named 'report'"):
        registry.load(registry.find(["report"])[0])


def test_a_command_and_a_group_with_one_name_collide(write: Write) -> None:
    """`report` can't be a command and a group; the commands in the group still run."""
    registry = write(**{"first/report": COMMAND, "second/report/daily": COMMAND})

    with pytest.raises(ConfigurationError) as caught:
        registry.find(["report"])

    assert "'report' is both a command and a group: first/report.py and second/report/" == (
        caught.value.message
    )
    assert "report daily" == registry.find(["report", "daily"])[0].name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_at_all", "1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\n\nclass X(:\n    pass\n", "3: SyntaxError: invalid syntax"),
        ("x = 1\nx.upper()\n", "2: AttributeError: 'int' object has no attribute 'upper'"),
        ("raise SystemExit(3)", "1: SystemExit: 3"),
    ],
)
def test_an_import_error_names_file_and_line(write: Write, source: str, said: str) -> None:
    """It also repeats the original message; the exit code is 78."""
    registry = write(**{"first/report": source})

    with pytest.raises(ConfigurationError) as caught:
        registry.load(registry.find(["report"])[0])

    assert "command-broken" == caught.value.code
    assert caught.value.message.endswith(f"first/report.py:{said}")


def test_a_configuration_error_on_import_keeps_its_own_message(write: Write) -> None:
    """A missing setting is not a broken command."""
    source = "from oneoff import ConfigurationError\nraise ConfigurationError('KEY is missing')"
    registry = write(**{"first/report": source})

    with pytest.raises(ConfigurationError, match=r"^KEY is missing$"):
        registry.load(registry.find(["report"])[0])


def test_a_module_without_a_command_is_broken(write: Write) -> None:
    """The error names the file."""
    registry = write(**{"first/report": "X = 1"})

    with pytest.raises(ConfigurationError, match=r"first/report\.py defines no command"):
        registry.load(registry.find(["report"])[0])


def test_a_module_with_two_commands_is_broken(write: Write) -> None:
    """The error names them."""
    second = COMMAND.replace("Report", "Second")
    registry = write(**{"first/report": COMMAND + second})

    with pytest.raises(ConfigurationError, match="defines 2 commands: Report, Second"):
        registry.load(registry.find(["report"])[0])


def test_dunder_all_names_the_command_of_several_classes(write: Write) -> None:
    """A base class may be in the same file."""
    second = COMMAND.replace("Report", "Second")
    registry = write(**{"first/report": COMMAND + second + '\n__all__ = ["Second"]\n'})

    assert "Second" == registry.load(registry.find(["report"])[0]).__name__


def test_an_imported_command_is_not_the_modules_own(write: Write) -> None:
    """Only a name in `__all__` is re-exported."""
    registry = write(
        **{
            "first/report": COMMAND,
            "first/other": "from first.report import Report",
            "first/alias": 'from first.report import Report\n\n__all__ = ["Report"]',
        }
    )

    assert "Report" == registry.load(registry.find(["alias"])[0]).__name__
    with pytest.raises(ConfigurationError, match="defines no command"):
        registry.load(registry.find(["other"])[0])


def test_a_missing_package_is_named_where_a_command_is_not_found(tmp_path: Path) -> None:
    """A misspelt package must not look like an empty one; other commands still run."""
    registry = Registry(("oneoff.commands", "comands"), str(tmp_path))

    assert "commands list" == registry.find(["commands", "list"])[0].name
    with pytest.raises(UsageError, match="the commands package 'comands' was not found"):
        registry.find(["report"])


def test_a_file_with_an_impossible_name_is_named_where_a_command_is_not_found(
    write: Write,
) -> None:
    """`my-report.py` looks like the file of the command `my-report`."""
    registry = write(**{"first/my-report": COMMAND})

    with pytest.raises(UsageError, match=r"first/my-report\.py is not read: .* my_report\.py"):
        registry.find(["my-report"])


def test_children_are_the_next_words(write: Write) -> None:
    """Completion walks down a name word by word."""
    registry = write(**{"first/user/show": COMMAND, "second/user/list": COMMAND})

    assert ["user"] == registry.children([])
    assert ["list", "show"] == registry.children(["user"])


def test_a_package_is_located_without_importing_it(write: Write, tmp_path: Path) -> None:
    """A package outside of the project's root is found too."""
    write(**{"first/report": "raise RuntimeError"})

    assert (str(tmp_path / "first"),) == locate("first", str(tmp_path))
    assert (str(tmp_path / "first"),) == locate("first", "/nowhere")
    assert "first" not in sys.modules
    assert () == locate("first.nothing", str(tmp_path))


def test_a_folder_that_is_on_the_path_twice_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package without __init__.py has the folders of all spellings of a path."""
    (tmp_path / "loose" / "commands").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(f"{tmp_path}/loose/..")

    assert 1 == len(locate("loose.commands", "elsewhere"))


def test_a_link_to_a_parent_folder_does_not_loop(write: Write, tmp_path: Path) -> None:
    """On one path, each folder is entered once."""
    registry = write(**{"first/user/show": COMMAND})
    (tmp_path / "first" / "user" / "again").symlink_to(tmp_path / "first" / "user")

    assert "user show" in registry.names()
