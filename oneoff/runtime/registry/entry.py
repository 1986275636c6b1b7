"""Describe commands by what is known of them without importing them."""

from __future__ import annotations


class Entry:
    """One command, as its file tells.

    Attributes:
        name: What the operator types: "user reset-password".
        module: Dotted name of its module.
        package: The commands package it was found in.
        path: The file, absolute.
        summary: First line of its docstring; empty when the summaries weren't asked for.
        alias_of: Name of the command it re-exports, or empty.
        broken: "file:line: message" when it can't work, or empty.
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
        """The file as messages and documents show it: the same on every machine."""
        return self.module.replace(".", "/") + ".py"

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.file!r})"


class Listing:
    """All commands and groups at one moment.

    Attributes:
        entries: Sorted by name, those without a group first.
        groups: Name of each group to its summary, sorted.
    """

    __slots__ = ("entries", "groups")

    def __init__(self, entries: list[Entry], groups: dict[str, str]) -> None:
        self.entries = entries
        self.groups = groups

    def members(self, group: str) -> list[Entry]:
        """Return the commands of a group and of the groups in it."""
        return [entry for entry in self.entries if entry.name.startswith(f"{group} ")]
