"""Describe commands without importing them."""

from __future__ import annotations


class Entry:
    """One command, as its file describes it.

    Attributes:
        name: What the operator types: "user reset-password".
        module: Dotted name of its module.
        package: The package of commands that contains it.
        path: Absolute path of its file.
        summary: First line of its docstring; empty if the summaries were not read.
        alias_of: Name of the command that it re-exports, or empty.
        broken: "file:line: message" if the command can't run, or empty.
        replaces: File of the command in an earlier package that it overrides, or empty.
    """

    __slots__ = (
        "alias_of",
        "broken",
        "module",
        "name",
        "package",
        "path",
        "replaces",
        "summary",
    )

    def __init__(self, name: str, module: str, package: str, path: str) -> None:
        self.name = name
        self.module = module
        self.package = package
        self.path = path
        self.summary = ""
        self.alias_of = ""
        self.broken = ""
        self.replaces = ""

    @property
    def file(self) -> str:
        """The file's path for messages and documents, which is the same on every machine."""
        return self.module.replace(".", "/") + ".py"

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
