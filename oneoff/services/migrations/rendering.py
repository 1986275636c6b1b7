"""Write the operations of a revision as Python code that means exactly the same.

Alembic's renderer leaves gaps: names that the file does not import, quotes that it removes from a
default, and colons that SQLAlchemy takes for parameters. This module closes them for all kinds of
operations, at the few places through which all code passes.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from textwrap import indent
from typing import TYPE_CHECKING, Any

import sqlalchemy
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import _render_constraint as render_constraint
from alembic.autogenerate.render import render_op
from alembic.operations.ops import OpContainer
from sqlalchemy import ClauseElement, Constraint, DefaultClause, ForeignKeyConstraint, TextClause

from oneoff.services.migrations.circles import identity
from oneoff.services.migrations.colons import escape, without_parameters
from oneoff.services.migrations.constraint_names import name_for
from oneoff.services.migrations.enums import EnumOp, enum_code

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext

_OWN_TYPE = re.compile(r"\b((?:[a-z_]\w*\.)+)[A-Z]\w*\(")
"""A class with its module in rendered code: "app.types.Money("."""
_CONSTRAINTS = ("unique", "foreign_key", "check")
_ALWAYS_IMPORTED = ("op", "sa")


class Renderer:
    """Renders operations, and collects the import lines that their code needs.

    Args:
        context: Alembic's context, with the options of env.py.
        late: The foreign keys that are not part of their CREATE TABLE.
    """

    def __init__(
        self,
        context: MigrationContext,
        late: Sequence[ForeignKeyConstraint] = (),
    ) -> None:
        self._late = {identity(key) for key in late}
        self._dialect = context.dialect.name
        self._user_render_item = context.opts.get("render_item")
        # SQLite has no ALTER TABLE for most changes; batch mode rebuilds the table instead.
        batch = context.opts["render_as_batch"] or self._dialect == "sqlite"
        options = context.opts | {"render_as_batch": batch, "render_item": self._render_item}
        self._context = AutogenContext(context, opts=options)
        self._context.imports = set()
        _render_exact_sql(context.impl)

    def render(self, script: MigrationScript) -> dict[str, str]:
        """Return what the template of the file needs: imports, upgrades and downgrades."""
        self._context.imports = set(script.imports)
        tokens = self._context.opts["upgrade_token"], self._context.opts["downgrade_token"]
        both = zip(tokens, (script.upgrade_ops, script.downgrade_ops), strict=True)
        code = {token: self._render_all(found) for token, found in both if found is not None}
        imports = self._imports("\n".join(code.values()))
        bodies = {token: indent(body, "    ").strip() for token, body in code.items()}
        return bodies | {"imports": "\n".join(imports)}

    def _render_all(self, container: OpContainer) -> str:
        others = [one for one in container.ops if not isinstance(one, EnumOp)]
        code = self._render(OpContainer(others))
        for one in container.ops:
            if isinstance(one, EnumOp):
                one.committed = any(repr(value) in code for value in one.added)
        return self._render(container)

    def _render(self, container: OpContainer) -> str:
        """Return the source of operations; those inside a `with` block are indented."""
        lines: list[str] = []
        margin = ""
        rendered = (render_op(self._context, operation) for operation in container.ops)
        for line in (line for found in rendered for line in found):
            lines.append(indent(line, margin))
            # render_op returns the lines of a batch unindented, between a line that ends with ":"
            # and an empty line.
            margin = "    " if line.endswith(":") else margin if line else ""
        return self._qualify("\n".join(lines))

    def _imports(self, code: str) -> list[str]:
        """Return the import lines of rendered code, including those of the project's own types."""
        modules = {name.rstrip(".") for name in _OWN_TYPE.findall(code)}
        own = sorted(f"import {name}" for name in modules if name in sys.modules)
        return sorted(self._context.imports) + ([""] if own else []) + own

    def _render_item(self, kind: str, item: Any, context: AutogenContext) -> Any:
        """Render what Alembic would render wrongly; False means its own code."""
        if self._user_render_item is not None:
            code = self._user_render_item(kind, item, context)
            if code is not False:
                return code
        if kind == "server_default" and isinstance(item, DefaultClause | str):
            default = item if isinstance(item, str) else item.arg
            # Alembic removes a quote from each end of the text.
            return repr(str(default)) if isinstance(default, str) else False
        if kind == "type":
            return enum_code(item, context) or False
        if kind in _CONSTRAINTS:
            if kind == "foreign_key" and identity(item) in self._late:
                return None
            return self._render_constraint(item, context)
        return False

    def _render_constraint(self, constraint: Constraint, context: AutogenContext) -> Any:
        """Render a constraint that has no name with its default name.

        Without a name, a later revision could not drop it on SQLite.
        """
        if constraint.name or not list(getattr(constraint, "columns", ())):
            return False
        constraint.name = name_for(constraint)
        try:
            return render_constraint(constraint, context, constraint.table.metadata)
        finally:
            constraint.name = None

    def _qualify(self, code: str) -> str:
        """Add the module to names that the file does not define.

        Alembic writes arguments of types by `repr`: JSONB(astext_type=Text()).
        """
        lines = [line.encode() for line in code.splitlines()]
        for name in sorted(
            undefined_names(code), key=lambda node: (node.lineno, node.col_offset), reverse=True
        ):
            prefix = self._module_of(name.id)
            line = lines[name.lineno - 1]
            lines[name.lineno - 1] = line[: name.col_offset] + prefix + line[name.col_offset :]
        return b"\n".join(lines).decode()

    def _module_of(self, name: str) -> bytes:
        if hasattr(sqlalchemy, name):
            return b"sa."
        if hasattr(import_module(f"sqlalchemy.dialects.{self._dialect}"), name):
            self._context.imports.add(f"from sqlalchemy.dialects import {self._dialect}")
            return f"{self._dialect}.".encode()
        return b""


def undefined_names(code: str) -> Iterator[ast.Name]:
    """Yield the names that code uses and neither defines nor imports; none if it can't be parsed.

    `op` and `sa` count as defined.
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    known = {*dir(builtins), "__file__", *_ALWAYS_IMPORTED, *_defined(tree)}
    if "*" in known:  # `from module import *` may define all names
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known:
            yield node


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id
        elif not isinstance(node, ast.keyword):
            for part in ("name", "asname", "arg", "rest"):  # of an import, a function, a match, ...
                name = getattr(node, part, None)
                if isinstance(name, str):
                    yield name.partition(".")[0]


def _render_exact_sql(impl: Any) -> None:
    """Make `sa.text(...)` in the rendered code give the SQL of the model or the database."""
    render: Callable[..., str] = impl.render_ddl_sql_expr

    def render_ddl_sql_expr(expression: ClauseElement, **options: Any) -> str:
        if isinstance(expression, TextClause):
            expression = without_parameters(expression)
        sql = render(expression, **options)
        # An expression of an index is rendered as literal_column, which has no parameters.
        return sql if options.get("is_index") else escape(sql)

    impl.render_ddl_sql_expr = render_ddl_sql_expr
