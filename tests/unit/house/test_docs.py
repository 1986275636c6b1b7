"""The documentation is correct: links, names, codes, settings, and every command line.

Each function that reads pages is also tested with a text that has an error.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import ClassVar, get_origin

import pytest

from app.settings import Settings
from oneoff.cli.dispatch import dispatch
from oneoff.cli.render import render_json
from oneoff.config.settings import SETTINGS
from oneoff.core import errors
from oneoff.core.command import BaseCommand
from oneoff.core.errors import CommandError, ExitCode
from oneoff.core.outcome import Outcome
from oneoff.runtime.application import load_application
from oneoff.runtime.container import known_names
from oneoff.runtime.registry.checks import SHELL_SIGNS
from oneoff.runtime.registry.registry import Registry
from oneoff.services.exit_codes import table
from oneoff.utils.redaction import Redactor
from tests.support.documentation import taught_commands, write_taught_commands

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GENERATED = REFERENCE / "commands.md"
"""Its command lines are the examples of the classes, which the contract test parses."""
PROJECT = "app.project:project"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_LINE = re.compile(r"python manage\.py ([^`\n]*)")
_ROW = re.compile(r"^\| (.+?) \|", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_KEBAB = re.compile(r"[a-z]+(-[a-z]+)*")
_SECTION = re.compile(r"^## ([\d and]+):[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


# --- links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    """A file of the repository, and a heading in it."""
    links = _LINK.findall(without_blocks(page.read_text(encoding="utf-8")))
    own = [link for link in links if "://" not in link]

    assert [] == [link for link in own if not leads_somewhere(page, link)]


def test_the_index_names_every_page() -> None:
    """Readers would not find other pages. The catalogue of admin tasks has its own index."""
    indexes = [DOCS / "index.md", DOCS / "tasks" / "README.md"]
    named = {
        (index.parent / link.partition("#")[0]).resolve()
        for index in indexes
        for link in _LINK.findall(index.read_text(encoding="utf-8"))
    }

    assert [] == [page for page in DOCS.rglob("*.md") if page not in named | {indexes[0]}]


def test_a_link_without_a_target_is_found() -> None:
    """For a wrong file and a wrong heading."""
    page = DOCS / "index.md"

    assert not leads_somewhere(page, "reference/exit-code.md")
    assert not leads_somewhere(page, "reference/exit-codes.md#sizes")
    assert leads_somewhere(page, "reference/exit-codes.md#exit-codes")


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether a link of a page has a target."""
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return False
    return not heading or heading in headings(target.read_text(encoding="utf-8"))


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    lines = [line for line in without_blocks(text).splitlines() if line.startswith("#")]
    titles = (line.lstrip("#").strip().lower() for line in lines)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def without_blocks(text: str) -> str:
    """Return a page without its blocks of code."""
    return _BLOCK.sub("", text)


# --- command lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page != GENERATED],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_command_line_can_be_parsed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the commands that the page itself defines."""
    text = page.read_text(encoding="utf-8")
    app = load_application(PROJECT, str(ROOT), {})
    taught = write_taught_commands(text, tmp_path)
    if taught:
        monkeypatch.syspath_prepend(tmp_path)
        app.registry = Registry.of_project(("commands", taught), str(ROOT))
    wrong = {}
    for line in command_lines(text):
        try:
            dispatch(app, words_of(line), "python manage.py")
        except (CommandError, ValueError) as exc:
            wrong[line] = str(exc)

    assert {} == wrong


def test_a_wrong_command_line_is_found() -> None:
    """In a code block and in a sentence. Redirections of the shell are ignored."""
    text = "```sh\npython manage.py user lsit > x\n```\nor `python manage.py migrate --plam`."

    assert ["user lsit > x", "migrate --plam"] == list(command_lines(text))
    assert ["user", "lsit"] == words_of("user lsit > x")
    app = load_application(PROJECT, str(ROOT), {})
    for line in command_lines(text):
        with pytest.raises(CommandError):
            dispatch(app, words_of(line), "python manage.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_a_command_of_the_project_unchanged(page: Path) -> None:
    """The page and the file are equal."""
    shown_commands = taught_commands(page.read_text(encoding="utf-8"))
    files = {ROOT.joinpath("commands", path): source for path, source in shown_commands.items()}

    for file, source in files.items():
        assert not file.exists() or file.read_text(encoding="utf-8") == source


def command_lines(text: str) -> Iterator[str]:
    """Yield the words after `python manage.py`, except in code of other languages."""
    for language, block in _BLOCK.findall(text):
        if language in {"sh", "console", ""}:
            yield from _LINE.findall(block)
    yield from _LINE.findall(without_blocks(text))


def words_of(line: str) -> list[str]:
    """Return the words of a command line up to the next operator of the shell."""
    words = shlex.split(line, comments=True)
    ends = (at for at, word in enumerate(words) if word in SHELL_SIGNS | {"||"})
    return words[: next(ends, len(words))]


# --- errors and exit codes ---------------------------------------------------------------------


def test_every_error_code_is_documented_under_its_exit_code() -> None:
    """No row documents a code that does not exist."""
    documented = documented_codes((REFERENCE / "errors.md").read_text(encoding="utf-8"))
    raised: dict[str, set[int]] = {}
    for path in sources():
        for code, exit_code in codes_in(ast.parse(path.read_text(encoding="utf-8"))):
            raised.setdefault(code, set()).update({exit_code} - {UNKNOWN})

    assert set(raised) == set(documented)
    assert {} == {
        code: (exit_codes, documented[code])
        for code, exit_codes in raised.items()
        if not exit_codes <= documented[code]
    }


def test_codes_are_found_in_all_forms_of_source() -> None:
    """In a call, in a conditional expression, and in a class."""
    source = (
        'raise Refused("no", code="not-here")\n'
        'kind("no", code="bad" if worse else "not-so-bad")\n'
        'class Odd(CommandError):\n    code = "odd-one"\n    exit_code = ExitCode.DATA\n'
    )
    expected = {("not-here", 77), ("bad", UNKNOWN), ("not-so-bad", UNKNOWN), ("odd-one", 65)}

    assert expected == set(codes_in(ast.parse(source)))
    assert {"odd-one": {65, 77}} == documented_codes("## 65 and 77: odd\n\n| `odd-one` | x | y |\n")


def test_the_table_of_exit_codes_equals_the_enum() -> None:
    """All its columns, in the same order."""
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \| (.*?) ?\|$", text, re.MULTILINE)
    retry = {None: "", False: "no", True: "yes"}

    assert [
        (str(row["code"]), row["name"], row["means"], retry[row["retry"]]) for row in table()
    ] == rows


UNKNOWN = -1
"""The exit code where the source does not say which class is raised."""


def sources() -> Iterator[Path]:
    """Yield the modules that may raise an error."""
    for folder in ("oneoff", "app", "commands"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def codes_in(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every error code of a module, with the exit code if the source contains it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            for text in (text for value in given for text in texts_of(value)):
                yield text, exit_code_of(node.func)
        elif isinstance(node, ast.ClassDef):
            own = {name: value for line in node.body for name, value in assignment(line)}
            for text in texts_of(own.get("code")):
                yield text, exit_code_of(own.get("exit_code"), *node.bases)


def texts_of(value: ast.expr | None) -> list[str]:
    """Return the codes that an expression may have."""
    nodes = ast.walk(value) if value else ()
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and _KEBAB.fullmatch(text)]


def assignment(line: ast.stmt) -> list[tuple[str, ast.expr]]:
    """Return name and value, if the line is `name = value`."""
    if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
        return []
    return [(line.targets[0].id, line.value)]


def exit_code_of(*expressions: ast.expr | None) -> int:
    """Return the exit code of the first expression that has one."""
    for expression in expressions:
        name = getattr(expression, "attr", getattr(expression, "id", ""))
        if name in ExitCode.__members__:
            return int(ExitCode[name])
        kind = getattr(errors, name, None)
        if kind is not None:
            return int(kind.exit_code)
    return UNKNOWN


def documented_codes(text: str) -> dict[str, set[int]]:
    """Return the codes of the page, each with the exit codes of its sections."""
    codes: dict[str, set[int]] = {}
    for title, section in _SECTION.findall(text):
        numbers = {int(number) for number in re.findall(r"\d+", title)}
        for code in re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE):
            codes.setdefault(code, set()).update(numbers)
    return codes


# --- names in the reference --------------------------------------------------------------------


def test_every_setting_is_documented() -> None:
    """Settings of the framework and of the application."""
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    own, _, rest = text.partition("## Of the reference project")
    framework = [setting.name for setting in SETTINGS]
    fields = {name.upper() for name in Settings.model_fields}

    assert framework == first_names(own.partition("###")[0])
    assert sorted(fields - set(framework)) == first_names(rest.partition("## Variables")[0])


def test_every_resource_is_documented() -> None:
    """A resource is a name that `handle` may ask for."""
    text = (REFERENCE / "resources.md").read_text(encoding="utf-8")

    assert sorted(known_names({})) == sorted(first_names(text))


def test_every_command_attribute_is_documented() -> None:
    """With the default for a class that does not declare it."""
    text = (REFERENCE / "command-attributes.md").read_text(encoding="utf-8")
    policy = text.partition("## Methods")[0].partition("## Policy")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", policy, re.MULTILINE))
    declared = {
        name: getattr(BaseCommand, name)
        for name, annotation in BaseCommand.__annotations__.items()
        if not name.startswith("_") and is_class_variable(annotation)
    }

    assert {name: shown(default) for name, default in declared.items()} == rows


def test_the_keys_of_the_envelope_are_documented() -> None:
    """In the same order."""
    text = (REFERENCE / "output.md").read_text(encoding="utf-8")
    documented = first_names(text.partition("## JSON")[2].partition("## Errors")[0])
    failed = Outcome(command="user list", error=CommandError("no"))
    rendered = render_json(failed, Redactor())

    assert re.findall(r'"(\w+)": ', re.sub(r'"error": \{.*?\}, ', '"error": 0, ', rendered)) == (
        documented
    )


def first_names(text: str) -> list[str]:
    """Return the names in backticks in the first column of the tables."""
    return [name[1] for cell in _ROW.findall(text) if (name := _CODE.fullmatch(cell))]


def is_class_variable(annotation: object) -> bool:
    """Return whether an annotation, which may be a string, is a ClassVar."""
    return get_origin(annotation) is ClassVar or str(annotation).startswith("ClassVar")


def shown(value: object) -> str:
    """Return a default as written on the page."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else json_like(value)


def json_like(value: object) -> str:
    """Return a value as source with double quotes."""
    return repr(value).replace("'", '"')
