"""Turn words into a command that is ready to run, or into a page of text. This is step 2."""

from __future__ import annotations

import os

from oneoff.core.options import GlobalOptions, split_leading, without_flags

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.errors import UsageError
    from oneoff.core.outcome import Call
    from oneoff.runtime.application import Application
    from oneoff.runtime.registry.entry import Entry


class Page:
    """A text that answers the command line: help, the version, completions."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


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
    leading, words = split_leading(list(words))
    if "--version" in leading:
        return Page(_version(app))
    if list(words[:2]) == ["completion", "candidates"]:
        return Page(_candidates(app, words[2:]))
    if not words or words[0] == "help" or {"--help", "-h"} & {*leading}:
        return Page(_help(app, [word for word in words[:1] if word != "help"] + [*words[1:]]))
    group = without_flags(words)
    if app.registry.group_named(group):
        return Page(_help(app, group))
    entry, rest = app.registry.find(words)
    return _call(app, entry, [*leading, *rest], program)


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
        return Page(_help(app, entry.name.split()))
    if parsed.options.json and parsed.command.fills_stdout():
        raise _two_outputs_error(entry.name)
    line = command_line(f"{program} {entry.name}", argv)
    name = app.registry.name_of(command_class)
    return Call(name, parsed.command, parsed.options, [*entry.name.split(), *argv], line)


def _two_outputs_error(name: str) -> UsageError:
    from oneoff.core.errors import UsageError

    return UsageError(
        f"--json and the data of {name} can't both go to standard output",
        try_="write the data to a file",
    )


def _help(app: Application, words: Sequence[str]) -> str:
    from oneoff.services.help.pages import help_page

    return help_page(app.registry, words, width=_width())


def _candidates(app: Application, rest: Sequence[str]) -> str:
    from oneoff.services.help.completion import candidates

    words = rest[1:] if rest[:1] == ["--"] else rest
    return "".join(f"{candidate}\n" for candidate in candidates(app.registry, words))


def _version(app: Application) -> str:
    from oneoff import __version__

    return f"{app.project.name}, oneoff {__version__}\n"


def _width() -> int:
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0
