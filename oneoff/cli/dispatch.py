"""Turn words into a command that is ready to run, or into a page of text. This is step 2."""

from __future__ import annotations

import os

from oneoff.core.options import GlobalOptions, split_leading, without_flags
from oneoff.runtime.registry.registry import HELP_FLAGS, Registry
from oneoff.runtime.terminal import PROGRAM

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.command import BaseCommand
    from oneoff.core.errors import CommandError
    from oneoff.core.outcome import Call
    from oneoff.runtime.application import Application
    from oneoff.runtime.registry.entry import Entry


class Page:
    """A text that answers the command line: help, the version, completions.

    Attributes:
        warnings: What may be missing in it, and why.
    """

    __slots__ = ("text", "warnings")

    def __init__(self, text: str, warnings: Sequence[str] = ()) -> None:
        self.text = text
        self.warnings = tuple(warnings)


def dispatch(app: Application, words: Sequence[str], program: str) -> Page | Call:
    """Return the page or the call that the words ask for.

    Args:
        app: The project.
        words: What was typed after the program's name.
        program: The program's name, for the command lines in messages.

    Raises:
        UsageError: The words are wrong; it contains all problems.
        ConfigurationError: The command is broken.
    """
    page = _page(app.registry, words, program, app=app)
    if page:
        return page
    leading, words = split_leading(list(words))
    entry, rest = app.registry.find(words)
    return _call(app, entry, [*leading, *rest], program)


def page_without_project(words: Sequence[str], problem: CommandError, program: str) -> Page | None:
    """Return the page that the words ask for if the project can't be loaded; None for other words.

    It knows only the commands of oneoff and of plug-ins.

    Args:
        words: What was typed after the program's name.
        problem: Why the project can't be loaded.
        program: The program's name.
    """
    from oneoff.core.errors import UsageError

    before = list(words[: words.index("--")] if "--" in words else words)
    asks = [at for at, word in enumerate(before) if word in HELP_FLAGS]
    words = ["help", *before[: asks[0]]] if asks else words
    registry = Registry.of_project((), os.getcwd())
    try:
        return _page(registry, words, program, problem=problem.message)
    except UsageError:  # perhaps a command of the project
        return None


def _page(
    registry: Registry,
    words: Sequence[str],
    program: str,
    *,
    app: Application | None = None,
    problem: str = "",
) -> Page | None:
    leading, words = split_leading(list(words))
    if {"--version", "-V"} & {*leading}:
        return Page(_version(app.project.name if app else ""))
    if list(words[:2]) == ["completion", "candidates"]:
        return Page(_candidates(registry, words[2:], app))
    named = without_flags(words)
    if not words or words[0] == "help" or {*HELP_FLAGS} & {*leading}:
        named = named[1:] if named[:1] == ["help"] else named
    elif not registry.group_named(named):
        return None
    return _help(registry, named, program, problem)


def options_for_error(words: Sequence[str]) -> GlobalOptions:
    """Return the options for showing an error, read from a line that could not be parsed."""
    before = words[: words.index("--")] if "--" in words else words
    options = GlobalOptions()
    options.json = "--json" in before
    options.no_color = "--no-color" in before
    options.traceback = "--traceback" in before or "--debug" in before
    return options


def _call(app: Application, entry: Entry, rest: Sequence[str], program: str) -> Page | Call:
    """Import the command and parse the other words. With `--help`, return its page."""
    from oneoff.core.outcome import Call
    from oneoff.core.parsing import parse, scrub_argv
    from oneoff.utils.redaction import command_line

    command_class = app.registry.load(entry)
    app.accepts_problems = command_class.accepts_problems
    argv = scrub_argv(command_class, rest)
    parsed = parse(command_class, rest, name=entry.name)
    if parsed.command is None:
        return _help(app.registry, entry.name.split(), program)
    _refuse_two_outputs(entry.name, parsed.command, parsed.options)
    line = command_line(f"{program} {entry.name}", argv)
    name = app.registry.name_of(command_class)
    return Call(name, parsed.command, parsed.options, [*entry.name.split(), *argv], line)


def _refuse_two_outputs(name: str, command: BaseCommand, options: GlobalOptions) -> None:
    from oneoff.core.errors import UsageError

    if options.json and options.shapes_rows:
        raise UsageError(
            "--json prints the whole result, so --as, --fields and --sort can't be used with it",
            try_="--as json prints only the rows",
        )
    if (options.json or options.shapes_rows) and command.fills_stdout():
        option = "--json" if options.json else "the rows of --as, --fields or --sort"
        raise UsageError(
            f"{option} and the data of {name} can't both go to standard output",
            try_="write the data to a file",
        )


def _help(registry: Registry, words: Sequence[str], program: str, problem: str = "") -> Page:
    from oneoff.services.help.pages import help_page

    text = help_page(registry, words, width=_width()).replace(PROGRAM, program)
    if problem:
        return Page(text, [f"the project's own commands are not listed: {problem}"])
    return Page(text, [" ".join(problem) for problem in registry.problems()])


def _candidates(registry: Registry, rest: Sequence[str], app: Application | None) -> str:
    from oneoff.services.help.completion import candidates

    def names(function: str, prefix: str) -> Sequence[str]:
        from oneoff.services.help import names

        return names.names(app, function, prefix) if app else ()

    words = rest[1:] if rest[:1] == ["--"] else rest
    return "".join(f"{candidate}\n" for candidate in candidates(registry, words, names))


def _version(project: str) -> str:
    from oneoff import __version__

    return f"{project}, oneoff {__version__}\n" if project else f"oneoff {__version__}\n"


def _width() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0
