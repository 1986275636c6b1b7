"""Find commands by path, and import only the one that is needed.

`commands/user/reset_password.py` is `user reset-password`. Finding a command takes a few `stat`
calls. Listing all reads folders and, for the summaries, source files. The errors are in
`oneoff.runtime.registry.errors`, which is imported only if there is an error.
"""

from __future__ import annotations

import os
import sys

from oneoff.runtime.plugins.entry_points import COMMANDS, installed_entry_points
from oneoff.runtime.registry.entry import Entry, in_plugin
from oneoff.runtime.registry.packages import BUILT_IN, SUFFIX, locate, parts_of, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from oneoff.core.command import BaseCommand
    from oneoff.core.errors import UsageError
    from oneoff.runtime.plugins.entry_points import EntryPoint
    from oneoff.runtime.registry.entry import Listing

__all__ = ["Entry", "Registry"]
HELP_FLAGS = ("--help", "-h")


class Registry:
    """The commands of one project.

    Args:
        packages: Packages of commands; later ones may override commands of earlier ones.
        root: The project's root folder; it must be the first entry of `sys.path`.
        tasks: Import strings of the `Task` of built-in commands, by their names.
        plugins: The entry points of plug-ins, whose commands can't override others.
    """

    def __init__(
        self,
        packages: Sequence[str],
        root: str,
        tasks: Mapping[str, str] | None = None,
        plugins: Sequence[EntryPoint] = (),
    ) -> None:
        self.packages = tuple(packages)
        self.plugins = tuple(plugins)
        self.root = root
        self.tasks = tasks or {}
        self._plugin_of = {one.value: one.distribution for one in plugins if one.group == COMMANDS}
        self._with_task: dict[str, type[BaseCommand]] = {}
        self._folders: list[tuple[str, str]] | None = None

    @classmethod
    def of_project(
        cls, packages: Sequence[str], root: str, tasks: Mapping[str, str] | None = None
    ) -> Registry:
        """Return the registry of the built-in commands, the plug-ins' and the project's own."""
        plugins = [one for one in installed_entry_points() if one.value not in packages]
        commands = [one.value for one in plugins if one.group == COMMANDS]
        return cls((BUILT_IN, *commands, *packages), root, tasks, plugins)

    def name_of(self, command: type[BaseCommand]) -> str:
        """Return the full name of a command, which its runs are recorded with; never an alias."""
        module = command.__module__
        package = next(name for name in self.packages if module.startswith(name + "."))
        return module[len(package) + 1 :].replace(".", " ").replace("_", "-")

    def problems(self) -> list[tuple[str, str]]:
        """Return what is not read as commands, and why: packages, and files in them."""
        from oneoff.runtime.registry.unread import package_problem, unread_files

        located = self._located()
        found = {package for package, _ in located}
        missing = [package for package in self.packages if package not in found]
        return [package_problem(package) for package in missing] + [
            problem
            for package, folder in located
            if package != BUILT_IN
            for problem in unread_files(folder, package)
        ]

    def find(self, words: Sequence[str]) -> tuple[Entry, list[str]]:
        """Return the command that the first words name, and the words after its name.

        If several names fit, the longest is used. Nothing is imported.

        Raises:
            UsageError: No command has this name.
            ConfigurationError: Several commands have this name; others are not affected.
        """
        parts = parts_of(words)
        for count, found in reversed(list(enumerate(self._matches(parts), start=1))):
            if found:
                return self._only(found, parts[:count]), list(words[count:])
        raise self._unknown(words, parts)

    def load(self, entry: Entry) -> type[BaseCommand]:
        """Import the command's module, and no other, and return its class.

        Raises:
            ConfigurationError: The module can't be imported, doesn't define one command, or
                declares it wrongly.
        """
        from oneoff.core.command import DeclarationError

        command = _command_in(_import(entry), entry)
        try:
            command.fields()
        except DeclarationError as exc:
            from oneoff.runtime.registry.errors import import_failed

            raise import_failed(entry.name, entry.file, exc) from exc
        if entry.replaces and not command.overrides:
            from oneoff.runtime.registry.errors import collision

            raise collision(entry, entry.replaces)
        return self._declared(command) if self.tasks else command

    def _declared(self, command: type[BaseCommand]) -> type[BaseCommand]:
        """Return a command with the task that the project declares for it, if any.

        It is a subclass: other projects in this process, as in tests, declare other tasks.
        """
        name = self.name_of(command)
        if name in self.tasks and name not in self._with_task:
            from oneoff.core.project import load_object
            from oneoff.core.task import Task

            task = load_object(self.tasks[name])
            if not isinstance(task, Task):
                from oneoff.runtime.registry.errors import no_task

                raise no_task(name, self.tasks[name], task)
            same = {at: getattr(command, at) for at in ("__doc__", "__module__", "__qualname__")}
            made = type(command.__name__, (command,), {**same, "task": task})
            self._with_task[name] = made
        return self._with_task.get(name, command)

    def group_named(self, words: Sequence[str]) -> str:
        """Return the group that the words (`user`, `user --help`) name, or an empty text."""
        named = [word for word in words if word not in HELP_FLAGS]
        parts = parts_of(named)
        found = named and len(parts) == len(named) and self._group_folder(parts)
        return " ".join(named) if found else ""

    def names(self) -> list[str]:
        """Return the names of all commands, without reading any file."""
        return [entry.name for entry in self.entries(with_summaries=False)]

    def entries(self, *, with_summaries: bool = True) -> list[Entry]:
        """Return all commands; with summaries, also which are broken and which are aliases."""
        return self.listing(with_facts=with_summaries).entries

    def listing(self, *, with_facts: bool = True) -> Listing:
        """Return all commands and groups.

        Args:
            with_facts: Whether to read the source files, or their index, for summaries, aliases,
                syntax errors and overrides; otherwise only the folders are read.
        """
        from oneoff.runtime.registry.listing import list_commands

        folders = [(one, folder, self._plugin_of.get(one, "")) for one, folder in self._located()]
        return list_commands(folders, self.root, with_facts=with_facts)

    def children(self, words: Sequence[str]) -> list[str]:
        """Return the words that may follow these in a command's name, for completion."""
        parts = parts_of(words)
        if len(parts) != len(words):
            return []
        folders = (os.path.join(folder, *parts) for _, folder in self._located())
        found = {
            name.partition(" ")[0]
            for folder in folders
            if os.path.isdir(folder)
            for name, _, _, is_group in walk(folder, "")
            if not is_group
        }
        return sorted(found)

    def _located(self) -> list[tuple[str, str]]:
        if self._folders is None:
            self._folders = [
                (package, folder)
                for package in dict.fromkeys(self.packages)
                for folder in locate(package, self.root)
            ]
        return self._folders

    def _matches(self, parts: Sequence[str]) -> list[list[Entry]]:
        """Return the commands whose names are the first parts.

        The first list contains names of one part, the second names of two parts, and so on.
        """
        matches: list[list[Entry]] = [[] for _ in parts]
        for package, folder in self._located():
            path, module = folder, package
            for found, part in zip(matches, parts, strict=True):
                path, module = os.path.join(path, part), f"{module}.{part}"
                if os.path.isfile(path + SUFFIX):
                    name = module[len(package) + 1 :].replace(".", " ").replace("_", "-")
                    whose = self._plugin_of.get(package, "")
                    found.append(Entry(name, module, package, path + SUFFIX, whose))
                if not os.path.isdir(path):
                    break
        return matches

    def _only(self, found: list[Entry], parts: Sequence[str]) -> Entry:
        """Return the one command of a name that several packages may define.

        Raises:
            ConfigurationError: The last of them does not set `overrides = True` or is a plug-in's,
                or a group of commands has the same name.
        """
        *earlier, entry = found
        if earlier:
            if entry.plugin or not _says_overrides(entry):
                from oneoff.runtime.registry.errors import collision

                raise collision(entry, earlier[-1].place)
            entry.replaces = earlier[-1].place
        folder = self._group_folder(parts)
        if folder:
            from oneoff.runtime.registry.errors import group_collision

            raise group_collision(entry.name, entry.place, folder)
        return entry

    def _group_folder(self, parts: Sequence[str]) -> str:
        """Return the folder of a group for messages, or an empty text if there is none."""
        for package, folder in self._located():
            path = os.path.join(folder, *parts)
            if os.path.isdir(path) and not all(is_group for *_, is_group in walk(path, "")):
                shown = "/".join([*package.split("."), *parts, ""])
                return in_plugin(shown, self._plugin_of.get(package, ""))
        return ""

    def _unknown(self, words: Sequence[str], parts: Sequence[str]) -> UsageError:
        from oneoff.runtime.registry.errors import is_a_group, unknown_command

        depth = sum(bool(self.group_named(words[:count])) for count in range(1, len(parts) + 1))
        if depth and (depth == len(words) or words[depth].startswith("-")):
            return is_a_group(" ".join(words[:depth]), self.names())
        return unknown_command(words, depth + 1, self.names(), self.problems())


def _says_overrides(entry: Entry) -> bool:
    from oneoff.runtime.registry.source_facts import read_source_facts

    return bool(read_source_facts(entry.path, entry.module).overrides)


def _import(entry: Entry) -> ModuleType:
    from oneoff.core.errors import CommandError

    try:
        __import__(entry.module)
    except CommandError:
        raise
    except (Exception, SystemExit) as exc:
        from oneoff.runtime.registry.errors import import_failed

        raise import_failed(entry.name, entry.file, exc) from exc
    return sys.modules[entry.module]


def _command_in(module: ModuleType, entry: Entry) -> type[BaseCommand]:
    """Return the one command that a module defines, or that an alias names in `__all__`."""
    found = list(_commands(module))
    if len(found) != 1:
        from oneoff.runtime.registry.errors import no_command

        raise no_command(entry.name, entry.file, [command.__name__ for command in found])
    return found[0]


def _commands(module: ModuleType) -> Iterator[type[BaseCommand]]:
    from oneoff.core.command import BaseCommand

    exported = getattr(module, "__all__", None)
    names = [name for name in vars(module) if not name.startswith("_")]
    for name in names if exported is None else exported:
        value = getattr(module, name, None)
        if (
            isinstance(value, type)
            and issubclass(value, BaseCommand)
            and hasattr(value, "handle")
            and (exported is not None or value.__module__ == module.__name__)
        ):
            yield value
