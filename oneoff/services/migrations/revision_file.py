"""Write revision files as Alembic does; nothing is left of them if that fails.

The settings of the project for new files are Alembic's: script.py.mako, file_template, timezone,
post-write hooks. A file is rendered in another folder first. It is moved into the project after it
was tried (`scratch`), and only then the hooks get it, because they expect it in its place.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import CommandError
from oneoff.services.migrations.rendering import undefined_names
from oneoff.utils.text import first_line

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from alembic.script import Script, ScriptDirectory

    from oneoff.services.migrations.autogenerate import Difference
    from oneoff.services.migrations.history import History


class Draft(NamedTuple):
    """A revision whose file is not in the project yet.

    Attributes:
        revision: Its identifier.
        path: Where the file will be.
        source: The text of the file.
    """

    revision: str
    path: Path
    source: str


def render_drafts(history: History, difference: Difference, folder: Path) -> list[Draft]:
    """Render the files of new revisions in a folder, and add the revisions to the history.

    Args:
        history: The project's revisions; the folder is one of its locations.
        difference: The revisions, and what renders their operations.
        folder: An empty folder outside the project.

    Raises:
        CommandError: A file can't be rendered, is not valid Python, or would replace another one.
    """
    history.scripts.hooks = []
    drafts: list[Draft] = []
    for script in difference.scripts:
        written = Path(_generate(history, difference, script, folder).path)
        path = _location(history, script, folder) / written.relative_to(folder)
        if path.exists() or path in [one.path for one in drafts]:
            raise CommandError(
                f"the new revision would replace {history.shorten(path)}",
                why="the file_template of Alembic's configuration gives both the same name",
                try_="add %(rev)s to file_template, or give another message with -m",
                code="revision-file-exists",
            )
        drafts.append(Draft(str(script.rev_id), path, written.read_text(encoding="utf-8")))
    return drafts


def _generate(
    history: History, difference: Difference, script: MigrationScript, folder: Path
) -> Script:
    """Let Alembic render one file and load it."""
    given = (history.env.configure.get("template_args") or {}) if history.env else {}
    code = difference.renderer.render(script) if difference.renderer else {}
    try:
        with _template(history.scripts), warnings.catch_warnings():
            # Alembic only warns of an identifier that another revision has.
            warnings.filterwarnings("error", message=".*present more than once")
            written = history.scripts.generate_revision(
                str(script.rev_id),
                _docstring(script.message or ""),
                head=script.head,
                splice=script.splice,
                branch_labels=script.branch_label,
                version_path=folder,
                depends_on=script.depends_on,
                refresh=True,
                config=history.config,
                operations=[_docstring(operation) for operation in difference.operations],
                **{"imports": "", "upgrades": "", "downgrades": ""} | given | code,
            )
    except Exception as exc:
        for path in folder.rglob("*.py"):
            check_source(path.read_text(encoding="utf-8"))
        raise _unrenderable(f"can't be written: {first_line(exc)}") from exc
    if written is None:
        raise _unrenderable("has a name that Alembic does not read; see file_template")
    check_source(Path(written.path).read_text(encoding="utf-8"))
    return written


@contextmanager
def _template(scripts: ScriptDirectory) -> Iterator[None]:
    """Let Alembic find our template if the project has none."""
    folder = scripts.dir
    if not Path(folder, "script.py.mako").is_file():
        scripts.dir = str(Path(__file__).parent)
    try:
        yield
    finally:
        scripts.dir = folder


def _location(history: History, script: MigrationScript, folder: Path) -> Path:
    """Return the folder for a new file: that of the revision before it, as Alembic decides."""
    locations = [one for one in history.locations if one != folder]
    if script.version_path:
        near = [history.root / script.version_path]
    else:
        before = history.scripts.get_revision(str(script.rev_id))._all_down_revisions
        near = [Path(history.scripts.get_revision(one).path) for one in before]
    for path in near:
        for location in locations:
            if path.resolve().is_relative_to(location.resolve()):
                return location
    if script.version_path:
        raise _unrenderable(f"can't be written to {script.version_path}: see version_locations")
    return locations[0]


def check_source(source: str) -> None:
    """Check that the source can be compiled and uses only names that it defines.

    Raises:
        CommandError: It does not.
    """
    try:
        compile(source, "<revision>", "exec", dont_inherit=True)
    except SyntaxError as exc:
        raise _unrenderable(f"is not valid Python: {exc.msg}: {exc.text}") from exc
    unknown = sorted({name.id for name in undefined_names(source)})
    if unknown:
        raise _unrenderable(f"uses a name that it does not define: {', '.join(unknown)}")


def save(drafts: Sequence[Draft]) -> None:
    """Write the files, all or none."""
    unfinished = [draft.path.with_suffix(".tmp") for draft in drafts]
    try:
        for draft, file in zip(drafts, unfinished, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(draft.source, encoding="utf-8")
        # Renaming is atomic, so a process that reads the folder never finds half of a file.
        for draft, file in zip(drafts, unfinished, strict=True):
            os.replace(file, draft.path)
    except BaseException:
        remove(drafts)
        raise
    finally:
        for file in unfinished:
            file.unlink(missing_ok=True)


def remove(drafts: Sequence[Draft]) -> None:
    """Remove the files that were written."""
    for draft in drafts:
        draft.path.unlink(missing_ok=True)


def is_unchanged(draft: Draft) -> bool:
    """Return whether the file has the meaning of its source: only its form may differ.

    Raises:
        CommandError: The file is not valid Python.
    """
    source = draft.path.read_text(encoding="utf-8", errors="replace")
    check_source(source)
    return _meaning(source) == _meaning(draft.source)


def _meaning(source: str) -> str:
    """Return the code without its form and its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [one for one in body if not _is_text(one)]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _unrenderable(problem: str) -> CommandError:
    return CommandError(
        f"the generated revision {problem}",
        why="models, env.py, or the settings of Alembic for new files can't be written as Python",
        try_=(
            "pass render_item in env.py: run_env(Base.metadata, render_item=...)",
            "or correct script.py.mako or the hook that changes new files",
        ),
        code="unrenderable-models",
    )


def _docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")
