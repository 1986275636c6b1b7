"""Write the help pages with pure functions.

The overview and the pages of groups import no command.
"""

from __future__ import annotations

from oneoff.runtime.terminal import PROGRAM

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oneoff.core.command import BaseCommand
    from oneoff.runtime.registry.entry import Entry, Listing
    from oneoff.runtime.registry.registry import Registry

BROKEN = "BROKEN"
INDENT = "  "
UNKNOWN_WIDTH = 100  # columns, if the width of the terminal is unknown
MIN_TEXT_WIDTH = 24
"""Columns that a text gets at least, even if the terminal is narrow or names are long."""


def help_page(registry: Registry, words: Sequence[str] = (), *, width: int = 0) -> str:
    """Return the page that `help WORDS` prints.

    Args:
        registry: The commands.
        words: The words of a group or a command; empty for the overview.
        width: Columns of the terminal. With 0 nothing is shortened, and only lists of options
            are wrapped.

    Raises:
        UsageError: No group or command has this name.
        ConfigurationError: The command is broken.
    """
    if not words:
        return overview(registry.listing(), width=width)
    group = registry.group_named(words)
    if group:
        return group_page(registry.listing(), group, width=width)
    entry, _ = registry.find(words)
    return command_page(entry.name, registry.load(entry), width=width)


def overview(listing: Listing, *, width: int = 0) -> str:
    """Return all commands with their summaries, by group."""
    names = max((len(entry.name) for entry in listing.entries), default=0)
    lines = [f"Usage: {PROGRAM} COMMAND [ARGUMENTS] [OPTIONS]"]
    current = None
    for entry in listing.entries:
        group = entry.name.partition(" ")[0] if " " in entry.name else ""
        if group != current:
            current, summary = group, listing.groups.get(group, "")
            lines += ["", f"{group}: {summary}" if summary else group or "Commands"]
        lines.append(_line(entry, names, width))
    lines += ["", f"{PROGRAM} help COMMAND shows help for one command."]
    return "\n".join(lines) + "\n"


def group_page(listing: Listing, group: str, *, width: int = 0) -> str:
    """Return the commands of one group with their summaries."""
    entries = listing.members(group)
    names = max(len(entry.name) for entry in entries)
    lines = [f"Usage: {PROGRAM} {group} COMMAND [ARGUMENTS] [OPTIONS]", ""]
    if listing.groups[group]:
        lines += [listing.groups[group], ""]
    lines += [_line(entry, names, width) for entry in entries]
    return "\n".join(lines) + "\n"


def _line(entry: Entry, names: int, width: int) -> str:
    head = f"{INDENT}{entry.name.ljust(names)}{INDENT}"
    if entry.broken:
        return f"{head}{BROKEN} {entry.broken}"  # not shortened: the message is at its end
    text = f"{entry.summary} (= {entry.alias_of})" if entry.alias_of else entry.summary
    if width and len(head) + len(text) > width:
        text = text[: max(width - len(head), MIN_TEXT_WIDTH) - 3].rstrip() + "..."
    return (head + text).rstrip()


def command_page(name: str, command: type[BaseCommand], *, width: int = 0) -> str:
    """Return the page of one command: usage, description, examples, inputs, effects, options."""
    from oneoff.services.help import describe

    usage, inputs = describe.usage(name, command), describe.inputs(command)
    names = max((len(head) for rows in inputs.values() for head, _ in rows), default=0)
    parts = [f"Usage: {PROGRAM} {usage}", *_paragraphs(describe.docstring(command), width)]
    if command.examples:
        examples = (f"{INDENT}{PROGRAM} {example}" for example in command.examples)
        parts.append("Examples:\n" + "\n".join(examples))
    for title, rows in inputs.items():
        parts.append(f"{title}:\n" + "\n".join(_rows(rows, names, width)))
    policy = (wrapped(["-", *line.split()], width, INDENT) for line in describe.policy(command))
    parts.append("Effects:\n" + "\n".join(policy))
    options = describe.global_options(command)
    names = max(len(head) for head, _ in options)
    parts.append("Global options:\n" + "\n".join(_rows(options, names, width)))
    return "\n\n".join(parts) + "\n"


def _paragraphs(text: str, width: int) -> Iterable[str]:
    """Yield the paragraphs of a docstring, wrapped, except code and lists."""
    for paragraph in text.split("\n\n"):
        is_plain = not any(line.startswith((" ", "-", "*")) for line in paragraph.split("\n"))
        yield wrapped(paragraph.split(), width, "") if is_plain and width else paragraph


def _rows(rows: Sequence[tuple[str, str]], names: int, width: int) -> Iterable[str]:
    column = INDENT + " " * names + INDENT
    for head, text in rows:
        lines = wrapped(text.split(), width or UNKNOWN_WIDTH, column)
        yield INDENT + head.ljust(names) + INDENT + lines[len(column) :]


def wrapped(words: Iterable[str], width: int, indent: str) -> str:
    """Return the words in indented lines of at most `width` columns."""
    room = max(width - len(indent), MIN_TEXT_WIDTH) if width else 0
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".lstrip()
        if room and lines[-1] and len(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(indent + line for line in lines)
