"""List all commands with the facts of their source files, without importing them."""

from __future__ import annotations

import os

from oneoff.runtime.registry.entry import Entry, Listing
from oneoff.runtime.registry.packages import locate, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.runtime.registry.index_cache import Index
    from oneoff.runtime.registry.source_facts import SourceFacts

MAX_ALIASES = 5
"""Longest chain of aliases that is followed; a longer one counts as a circle."""


def list_commands(
    folders: Sequence[tuple[str, str, str]], root: str, *, with_facts: bool = True
) -> Listing:
    """Return all commands and groups.

    Args:
        folders: Packages of commands, each with one of its folders and the plug-in that it belongs
            to, if any; later ones override earlier ones.
        root: The project's root folder.
        with_facts: Whether to read the source files, or their index; otherwise only the folders.
    """
    scan = _Scan(root)
    for package, folder, plugin in folders:
        scan.read(package, folder, plugin, with_facts=with_facts)
    groups = scan.groups()
    names = sorted(scan.commands)
    names = [name for name in names if " " not in name] + [name for name in names if " " in name]
    return Listing([scan.complete(scan.commands[name], groups) for name in names], groups)


class _Scan:
    """The commands found in the folders, in the order of the folders."""

    def __init__(self, root: str) -> None:
        self.commands: dict[str, Entry] = {}
        self._root = root
        self._facts: dict[str, SourceFacts] = {}
        self._group_summaries: dict[str, str] = {}

    def read(self, package: str, folder: str, plugin: str, *, with_facts: bool) -> None:
        """Add the commands of one folder."""
        index = _index(folder) if with_facts else None
        for name, module, found, is_group in walk(folder, package):
            facts = index.facts(module, found) if index else None
            if facts:
                self._facts[module] = facts
            if not is_group:
                entry = Entry(name, module, package, found.path, plugin)
                if name in self.commands:
                    entry.replaces = self.commands[name].place
                self.commands[name] = entry
            elif facts and facts.summary:
                self._group_summaries[name] = facts.summary
        if index:
            index.save()

    def groups(self) -> dict[str, str]:
        """Return the groups that contain a command, with their summaries."""
        names = {parent for name in self.commands if " " in name for parent in _parents(name)}
        return {name: self._group_summaries.get(name, "") for name in sorted(names)}

    def complete(self, entry: Entry, groups: dict[str, str]) -> Entry:
        """Add the facts of its source to an entry, and the problems of its name."""
        if entry.name in groups:
            entry.broken = f"{entry.file}: a group has this name too"
        facts = self._facts.get(entry.module)
        if facts:
            self._add_facts(entry, facts)
        return entry

    def _add_facts(self, entry: Entry, facts: SourceFacts) -> None:
        entry.summary = facts.summary
        if facts.target:
            self._follow_alias(entry)
        if entry.replaces and (entry.plugin or not facts.overrides):
            entry.broken = f"{entry.place}: {entry.replaces} has this name too"
        if facts.broken:
            entry.broken = f"{entry.file}:{facts.broken}"

    def _follow_alias(self, entry: Entry) -> None:
        """Take the summary from the module at the end of the chain of aliases."""
        module = entry.module
        for _ in range(MAX_ALIASES):
            facts = self._facts.get(module) or _facts_of_other_module(module, self._root)
            if facts is None or not facts.target:
                entry.summary = facts.summary if facts else ""
                break
            module = facts.target
        entry.alias_of = next(
            (other.name for other in self.commands.values() if other.module == module), ""
        )


def _index(folder: str) -> Index:
    from oneoff.runtime.registry.index_cache import Index

    return Index(folder)


def _facts_of_other_module(module: str, root: str) -> SourceFacts | None:
    """Return the facts of a module outside the packages of commands, which an alias refers to."""
    from oneoff.runtime.registry.source_facts import read_source_facts

    package, _, leaf = module.rpartition(".")
    for folder in locate(package, root) if package else ():
        path = os.path.join(folder, f"{leaf}.py")
        if os.path.isfile(path):
            return read_source_facts(path, module)
    return None


def _parents(name: str) -> list[str]:
    words = name.split(" ")
    return [" ".join(words[:count]) for count in range(1, len(words))]
