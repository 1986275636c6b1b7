"""Read the project's revision files with Alembic, and plan the steps between two revisions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alembic.runtime.migration import HeadMaintainer, MigrationStep, RevisionStep, StampStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError, RevisionMap
from alembic.util import CommandError as AlembicError

from oneoff.core.errors import CommandError, NotFound
from oneoff.services.migrations.alembic_config import load_config
from oneoff.services.migrations.history_errors import (
    broken,
    error_location,
    too_few,
    unreachable,
)
from oneoff.utils.suggestions import similar
from oneoff.utils.text import counted

_RELATIVE = re.compile(r"[+-]\d+")
# A position within one branch: the name of the branch, or one of its revisions, and what follows.
_IN_BRANCH = re.compile(r"[^@]+@(?:base|head|[+-]\d+)")

# CREATE SCHEMA crm, or SQLAlchemy's CreateSchema("crm").
_CREATE_SCHEMA = re.compile(
    r"""(?i)\bcreate\s+schema\s+(?:if\s+not\s+exists\s+)?[\\"]*([\w$]+)"""
    r"""|\bCreateSchema\(\s*["'](\w+)"""
)


class Revision(NamedTuple):
    """The facts of one revision, for messages and data.

    Attributes:
        id: The identifier that Alembic stores.
        message: First line of the file's docstring, without a full stop.
        file: Path of the file, relative to the project's root.
        branches: The labels of the branches to which it belongs.
    """

    id: str
    message: str = ""
    file: str = ""
    branches: Sequence[str] = ()


class EnvOptions(NamedTuple):
    """What env.py passed to Alembic.

    Attributes:
        configure: The options of `context.configure`, without a connection.
        run_migrations: The arguments of `context.run_migrations`, which revisions get.
    """

    configure: dict[str, Any]
    run_migrations: dict[str, Any]


class Heads(HeadMaintainer):
    """The revisions that Alembic's version table contains after given steps."""

    def __init__(self, current: Iterable[str]) -> None:
        self.heads = set(current)

    def _insert_version(self, version: str) -> None:
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        self.heads = self.heads - {from_} | {to_}


class History:
    """Reads the revisions of one script directory.

    Attributes:
        env: The options of env.py; None until it has been executed.
        locations: The folders of the revisions.
        versions: The first of them.

    Args:
        folder: The folder that holds `env.py` and `versions/`.
        root: The project's root folder, for short paths in messages.
        also: A second folder with revisions, which are not part of the project yet.

    Raises:
        CommandError: A file can't be loaded, or the revisions are inconsistent.
    """

    def __init__(self, folder: Path, root: Path, also: Path | None = None) -> None:
        self.folder, self.root = folder, root
        self.env: EnvOptions | None = None
        self.config = load_config(folder, root, also)
        locations = self.config.get_version_locations_list() or [str(folder / "versions")]
        self.locations = [Path(location) for location in locations]
        self.versions = versions = self.locations[0]
        if any(versions.glob("*.pyc")):
            # An image may hold compiled files alone, which Alembic reads only when told to. It then
            # reads `__pycache__` too, where files of deleted revisions may be left.
            self.config.set_main_option("sourceless", "true")
        self.scripts = ScriptDirectory.from_config(self.config)
        self.heads = self._load()
        # A compiled file that Alembic does not read may be left of a deleted revision.
        pattern = "*.py*" if self.scripts.sourceless else "*.py"
        if not self.heads and (files := _python_files(versions, pattern)):
            raise broken(
                f"{self.shorten(versions)} holds {counted(len(files), 'Python file')}, but no "
                f"revision that Alembic finds: {self.shorten(files[0])}"
            )

    def _load(self) -> tuple[str, ...]:
        try:
            with warnings.catch_warnings():
                # Alembic only warns of an identifier that two files have.
                warnings.filterwarnings("error", message=".*present more than once")
                return tuple(sorted(self.scripts.get_heads()))
        except (AlembicError, RevisionError, KeyError, UserWarning) as exc:
            raise broken(f"the revisions are inconsistent: {exc}") from exc
        except Exception as exc:
            file, line = error_location(exc)
            where = f"{self.shorten(Path(file))}:{line}"
            raise broken(f"{where} can't be loaded: {type(exc).__name__}: {exc}") from exc

    def only_head(self) -> str:
        """Return the only head, or an empty text if there is no revision yet.

        Raises:
            CommandError: The history has several heads.
        """
        if len(self.heads) > 1:
            raise self._multiple_heads()
        return self.heads[0] if self.heads else ""

    def separate_branches(self) -> bool:
        """Return whether several heads are meant: their branches share nothing, or have labels."""
        lines = [
            {one.revision for one in self.scripts.iterate_revisions(head, "base")}
            for head in self.heads
        ]
        labels = [self.scripts.get_revision(head).branch_labels for head in self.heads]
        return len(set[str]().union(*lines)) == sum(map(len, lines)) or all(labels)

    def warnings(self) -> list[str]:
        """Return what is unusual about the revisions."""
        merge = 'several heads: db create-migration --merge -m "merge heads"'
        return [merge] if self.heads[1:] and not self.separate_branches() else []

    def check_not_past(self, to: str, current: Iterable[str]) -> None:
        """Check that the database is not at a later revision than `to`.

        Raises:
            CommandError: `migrate` would have to undo revisions.
        """
        here = tuple(current)
        if not here or to in ("head", "heads") or to.startswith("+"):
            return
        target = self._resolve(to)
        if target not in here and self._between(target, here, up=False):
            raise CommandError(
                f"the database is at {', '.join(here)}, which is after {target}",
                why="migrate does not undo revisions",
                try_=f"python manage.py rollback --to {target} --dry-run",
                code="revision-passed",
            )

    def _multiple_heads(self) -> CommandError:
        merge = 'python manage.py db create-migration --merge -m "merge heads"'
        separate = self.separate_branches()
        return CommandError(
            f"the migrations have {len(self.heads)} heads: {' and '.join(self.heads)}",
            why="they are the ends of separate branches, so there is not one newest revision"
            if separate
            else "several revisions follow the same one, and their order is not defined",
            try_=("python manage.py migrate --revision heads", merge)
            if separate
            else (merge, "or set down_revision of one of them to the other"),
            code="multiple-heads",
        )

    def upward(self, to: str, current: Iterable[str]) -> list[RevisionStep]:
        """Return the steps from the database's revisions to `to`, in order.

        Raises:
            CommandError: `to` or a current revision is unknown, or there are several heads.
        """
        target = self._resolve(to)
        if not target:
            return []
        scripts = self._between(target, current, up=True)
        make = MigrationStep.upgrade_from_script
        return [self._make_step(make, script) for script in reversed(scripts)]

    def step(self, revision: str, *, down: bool) -> RevisionStep:
        """Return the step that applies one revision, or undoes it."""
        script: Script = self.scripts.get_revision(self._only_one(revision))
        make = MigrationStep.upgrade_from_script
        return self._downgrade(script) if down else self._make_step(make, script)

    def stamped(self, to: str, current: Iterable[str]) -> tuple[str, ...]:
        """Return the revisions of the database after a stamp. Those of other branches stay."""
        heads = Heads(current)
        for step in self.stamp_steps(to, tuple(heads.heads)):
            heads.update_to_step(step)
        return tuple(sorted(heads.heads))

    def stamp_steps(self, to: str, current: tuple[str, ...]) -> list[StampStep]:
        """Return the steps that store "base", "heads", or one revision.

        Raises:
            CommandError: `to` is not one revision, or a current revision is unknown.
        """
        self.check_known(current)
        target = self.heads if to == "heads" else () if to == "base" else (self._only_one(to),)
        return self.scripts._stamp_revs(target or ("base",), current)

    def start(self, since: str) -> tuple[str, ...]:
        """Return the revisions of a database that is at a revision, or at none ("base")."""
        target = self._resolve(since)
        return () if target == "base" else (target,)

    def downward(self, to: str, current: Iterable[str]) -> list[RevisionStep]:
        """Return the steps back from the database's revisions to `to`, in order.

        Args:
            to: "-1", "base", a revision, the beginning of one, or "<revision or branch>@-1".
            current: The revisions of the database.

        Raises:
            CommandError: `to` or a current revision is unknown, `to` is not below them, or it is a
                number of steps and the order in which to undo the revisions is not defined.
        """
        if to.startswith("-") and _RELATIVE.fullmatch(to):
            return self._newest(-int(to), tuple(current))
        scripts = self._between(self._resolve(to), current, up=False)
        return [self._downgrade(script) for script in scripts]

    def undoing(self, revisions: Container[str]) -> list[RevisionStep]:
        """Return the steps that undo given revisions, the newest first."""
        scripts = self.scripts.walk_revisions()
        return [self._downgrade(one) for one in scripts if one.revision in revisions]

    def _newest(self, count: int, current: tuple[str, ...]) -> list[RevisionStep]:
        """Return the steps that undo exactly `count` revisions."""
        self.check_known(current)
        heads, steps = Heads(current), list[RevisionStep]()
        while len(steps) < count:
            if not heads.heads:
                raise too_few(count, len(steps), current)
            if len(heads.heads) > 1:
                raise self._ambiguous(count, len(steps), sorted(heads.heads))
            (newest,) = heads.heads
            steps.append(self._downgrade(self.scripts.get_revision(newest)))
            heads.update_to_step(steps[-1])
        return steps

    def _ambiguous(self, count: int, done: int, heads: list[str]) -> CommandError:
        after = f" after {counted(done, 'revision')}" if done else ""
        before: set[str] = set()
        for head in heads:
            before.update(self.scripts.get_revision(head)._all_down_revisions)
        targets = [f"{head}@-1" for head in heads] + sorted(before.difference(heads) or {"base"})
        return CommandError(
            f"it is not defined which {counted(count, 'revision')} to undo: the database has "
            f"{len(heads)} heads{after}: {' and '.join(heads)}",
            why="no revision is the newest one",
            try_=[f"python manage.py rollback --to {target}" for target in targets],
            code="ambiguous-rollback",
        )

    def _downgrade(self, script: Script) -> RevisionStep:
        return self._make_step(MigrationStep.downgrade_from_script, script)

    def describe(self, revision: str) -> Revision:
        """Return the facts of a known revision."""
        script: Script | None = self.scripts.get_revision(revision)
        if script is None:
            return Revision(revision)
        doc, labels = script.doc.rstrip("."), sorted(script.branch_labels)
        return Revision(revision, doc, self.shorten(Path(script.path)), labels)

    def all(self) -> list[Revision]:
        """Return all revisions, the oldest first."""
        scripts = list(self.scripts.walk_revisions())
        return [self.describe(script.revision) for script in reversed(scripts)]

    def check_known(self, current: Iterable[str]) -> None:
        """Check that the project has the files of the database's revisions.

        Raises:
            CommandError: A file is missing: another version of the code migrated this database.
        """
        known = {script.revision for script in self.scripts.walk_revisions()}
        for revision in sorted(set(current) - known):
            raise CommandError(
                f"the database is at revision {revision}, which is not in {self._versions}",
                why="another version of the code migrated this database",
                try_="deploy the code that has this revision, or restore its file",
                code="unknown-database-revision",
            )

    def created_schemas(self) -> list[str]:
        """Return the names of the schemas that revisions create, as their text shows them."""
        found = {name for pair in _CREATE_SCHEMA.findall(self.sources()) for name in pair}
        return sorted(found - {""})

    def sources(self) -> str:
        """Return the text of all revisions; compiled files have none."""
        paths = [Path(script.path) for script in self.scripts.walk_revisions()]
        texts = [one.read_text("utf-8", "replace") for one in paths if one.suffix == ".py"]
        return "\n".join(texts)

    def shorten(self, path: Path) -> str:
        """Return a path relative to the project's root, or the absolute path if it is outside."""
        resolved, root = path.resolve(), self.root.resolve()
        return str(resolved.relative_to(root) if resolved.is_relative_to(root) else resolved)

    @property
    def _versions(self) -> str:
        return self.shorten(self.versions)

    def _make_step(
        self, make: Callable[[RevisionMap, Script], RevisionStep], script: Script
    ) -> RevisionStep:
        try:
            return make(self.scripts.revision_map, script)
        except AttributeError as exc:
            file = self.shorten(Path(script.path))
            raise broken(f"{file} has no function {exc.name}()") from exc

    def _resolve(self, text: str) -> str:
        if text == "head":
            return self.only_head()
        if text in ("heads", "base") or _RELATIVE.fullmatch(text) or _IN_BRANCH.fullmatch(text):
            return text
        try:
            found = self.scripts.get_revision(text) if text else None
        except AlembicError:
            found = None
        return found.revision if found else self._by_beginning(text)

    def _only_one(self, text: str) -> str:
        found = self._resolve(text)
        known = self.heads if text == "head" else [revision.id for revision in self.all()]
        if found not in known:
            raise NotFound(
                f"{text!r} is not one revision",
                try_="python manage.py db status",
                code="unknown-revision",
            )
        return found

    def _by_beginning(self, text: str) -> str:
        known = [revision.id for revision in self.all()]
        matches = [name for name in known if text and name.startswith(text)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NotFound(
                f"{len(matches)} revisions begin with {text!r}: {', '.join(matches)}",
                try_="give more characters of the one that you mean",
                code="ambiguous-revision",
            )
        raise NotFound(
            f"there is no revision {text!r} in {self._versions}",
            try_=[f"did you mean {name}?" for name in similar(text, known, limit=1)]
            + ["python manage.py db status"],
            code="unknown-revision",
        )

    def _between(self, target: str, current: Iterable[str], *, up: bool) -> list[Script]:
        here = tuple(current)
        self.check_known(here)
        try:
            # The arguments are those with which Alembic's upgrade and downgrade call it.
            if up:
                found = self.scripts.iterate_revisions(target, here or None, implicit_base=True)
            else:
                found = self.scripts.iterate_revisions(
                    here or None, target, select_for_downgrade=True
                )
            return list(found)
        except (AlembicError, RevisionError) as exc:
            raise unreachable(target, ", ".join(here) or "the empty database", exc) from exc


def _python_files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return [path for path in found if not path.name.startswith("__init__.")]
