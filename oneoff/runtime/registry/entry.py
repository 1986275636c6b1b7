"""Describe commands without importing them."""

from __future__ import annotations


class Entry:
    """One command, as its file describes it.

    Attributes:
        name: What the operator types: "user reset-password".
        module: Dotted name of its module.
        package: The package of commands that contains it.
        path: Absolute path of its file.
        plugin: Name and version of the plug-in that it belongs to, or empty.
        summary: First line of its docstring; empty if the summaries were not read.
        alias_of: Name of the command that it re-exports, or empty.
        broken: "file:line: message" if the command can't run, or empty.
        replaces: Place of the command in an earlier package that it overrides, or empty.
    """

    __slots__ = (
        "alias_of",
        "broken",
        "module",
        "name",
        "package",
        "path",
        "plugin",
        "replaces",
        "summary",
    )

    def __init__(self, name: str, module: str, package: str, path: str, plugin: str = "") -> None:
        self.name = name
        self.module = module
        self.package = package
        self.path = path
        self.plugin = plugin
        self.summary = ""
        self.alias_of = ""
        self.broken = ""
        self.replaces = ""

    @property
    def file(self) -> str:
        """The file's path for messages and documents, which is the same on every machine."""
        return self.module.replace(".", "/") + ".py"

    @property
    def place(self) -> str:
        """The file, and the plug-in that it belongs to, for messages about two commands."""
        return in_plugin(self.file, self.plugin)

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.file!r})"


class Listing:
    """All commands and groups of a project.

    Attributes:
        entries: The commands by name, those without a group first.
        groups: The summary of each group by its name, sorted.
    """

    __slots__ = ("entries", "groups")

    def __init__(self, entries: list[Entry], groups: dict[str, str]) -> None:
        self.entries = entries
        self.groups = groups

    def members(self, group: str) -> list[Entry]:
        """Return the commands of a group and of its subgroups."""
        return [entry for entry in self.entries if entry.name.startswith(f"{group} ")]


def in_plugin(file: str, plugin: str) -> str:
    """Return the file for messages: "acme/commands/report.py of the plug-in acme_reports 1.0"."""
    return f"{file} of the plug-in {plugin}" if plugin else file
