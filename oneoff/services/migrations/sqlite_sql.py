"""Read and change the CREATE TABLE statement that SQLite stores for a table.

A table is rebuilt from its own text, so that all that a revision does not name stays as it is:
checks, collations, conflict clauses, generated columns, options of the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint

from oneoff.services.migrations.constraint_names import default_name

if TYPE_CHECKING:
    from sqlalchemy.schema import Constraint

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | [xX]'[^']*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
      | \d[\d.]*(?:[eE][+-]?\d+)? | [\w$]+
      | (?:(?!--|/\*)[-|<>=!+*/&~%])+ | .""",
    re.VERBOSE | re.DOTALL,
)
_STARTS = frozenset(
    "CONSTRAINT PRIMARY NOT NULL UNIQUE CHECK DEFAULT COLLATE REFERENCES GENERATED AS".split()
)
# Words after which a word of _STARTS continues the clause: NOT NULL, SET DEFAULT, ALWAYS AS.
_CONTINUES = {
    "NULL": ("NOT", "DEFAULT", "SET"),
    "DEFAULT": ("SET",),
    "AS": ("ALWAYS",),
}
_KINDS: dict[str, type[Constraint]] = {
    "UNIQUE": UniqueConstraint,
    "FOREIGN": ForeignKeyConstraint,
    "REFERENCES": ForeignKeyConstraint,
}
_OF_TABLE = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


def unquote(token: str) -> str:
    """Return the name that a token means."""
    if token[:1] in "\"`'":
        return token[1:-1].replace(token[0] * 2, token[0])
    return token[1:-1] if token[:1] == "[" else token


def quote(name: str) -> str:
    """Return a name as it is written in a statement."""
    return '"' + name.replace('"', '""') + '"'


class Token(str):
    """A token, which knows whether a space or a comment precedes it."""

    __slots__ = ("spaced",)
    spaced: bool


def tokens(sql: str) -> list[str]:
    """Return the tokens of SQL, without spaces and comments."""
    found: list[str] = []
    spaced = False
    for match in _TOKEN.finditer(sql):
        if match["space"] is None:
            token = Token(match[0])
            token.spaced = spaced
            found.append(token)
        spaced = match["space"] is not None
    return found


def join(words: Iterable[str]) -> str:
    """Return tokens as text, with the spaces that they had."""
    return "".join((" " if getattr(word, "spaced", True) else "") + word for word in words).strip()


def split(words: list[str]) -> Iterator[list[str]]:
    """Yield the parts between commas that are not in parentheses."""
    part: list[str] = []
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def closing(words: list[str], begin: int) -> int:
    """Return the place of the parenthesis that closes the one at a place."""
    depth = 0
    for place in range(begin, len(words)):
        depth += (words[place] == "(") - (words[place] == ")")
        if depth == 0:
            return place
    message = "a parenthesis is not closed"
    raise ValueError(message)


def same_name(one: str, other: str) -> bool:
    """Return whether SQLite takes two names for the same one."""
    return one.lower() == other.lower()


@dataclass(slots=True)
class ColumnSQL:
    """The definition of a column: its name, its type, and its clauses with their names.

    Attributes:
        name: The name, without quotes.
        type: The tokens of the type.
        clauses: The tokens of each clause, such as `DEFAULT 1` or `CONSTRAINT c CHECK (...)`.
    """

    name: str
    type: list[str]
    clauses: list[list[str]]

    @classmethod
    def parse(cls, words: list[str]) -> ColumnSQL:
        """Read the tokens of a definition."""
        parts: list[list[str]] = [[]]
        depth = 0
        for before, word, after in zip(words, words[1:], [*words[2:], ""], strict=False):
            around = before.upper(), word.upper(), after.upper()
            if depth == 0 and _starts_clause(*around, parts[-1]):
                parts.append([])
            depth += (word == "(") - (word == ")")
            parts[-1].append(word)
        return cls(unquote(words[0]), parts[0], parts[1:])

    def remove(self, *keywords: str) -> None:
        """Remove the clauses of a kind."""
        self.clauses = [one for one in self.clauses if not _is(one, keywords)]

    def has(self, *keywords: str) -> bool:
        """Return whether there is a clause of a kind."""
        return any(_is(one, keywords) for one in self.clauses)

    def sql(self) -> str:
        """Return the definition as text."""
        parts = [self.type, *self.clauses]
        return " ".join([quote(self.name), *(join(part) for part in parts if part)])


@dataclass(slots=True)
class TableSQL:
    """A CREATE TABLE statement.

    Attributes:
        columns: The columns, in order.
        constraints: The tokens of the constraints of the table.
        options: The tokens after the closing parenthesis: STRICT, WITHOUT ROWID.
    """

    columns: list[ColumnSQL]
    constraints: list[list[str]]
    options: list[str]

    @classmethod
    def parse(cls, sql: str) -> TableSQL:
        """Read the statement that SQLite stores."""
        words = tokens(sql)
        begin = words.index("(")
        end = closing(words, begin)
        table = cls([], [], words[end + 1 :])
        for part in split(words[begin + 1 : end]):
            # Constraints of the table may follow each other without a comma; SQLAlchemy writes one.
            if part[0].upper() in _OF_TABLE:
                table.constraints.append(part)
            else:
                table.columns.append(ColumnSQL.parse(part))
        return table

    def column(self, name: str) -> ColumnSQL:
        """Return a column by its name."""
        for column in self.columns:
            if same_name(column.name, name):
                return column
        raise KeyError(name)

    def remove_constraint(self, name: str, table: str) -> bool:
        """Remove a constraint by its name; return whether there was one.

        A constraint without a name is known by its default name (`constraint_names`).
        """
        before = self._count()
        for named in (True, False):
            self.constraints = [
                one for one in self.constraints if not _has_name(one, name, table, "", named=named)
            ]
            for column in self.columns:
                column.clauses = [
                    one
                    for one in column.clauses
                    if not _has_name(one, name, table, column.name, named=named)
                ]
            if self._count() < before:
                return True
        return False

    def remove_primary_key(self) -> None:
        """Remove the primary key, whether it belongs to a column or to the table."""
        self.constraints = [one for one in self.constraints if not _is(one, ("PRIMARY",))]
        for column in self.columns:
            column.remove("PRIMARY")

    def drop_column(self, name: str) -> None:
        """Remove a column, and the constraints that can't exist without it.

        A check that also names other columns stays, so SQLite refuses the new table.
        """
        self.columns.remove(self.column(name))
        left = [column.name for column in self.columns]
        self.constraints = [one for one in self.constraints if not _depends(one, name, left)]

    def sql(self, name: str) -> str:
        """Return the statement that creates the table under a name."""
        parts = [column.sql() for column in self.columns]
        parts += [join(one) for one in self.constraints]
        # SQLAlchemy reads the text line by line, as it writes it itself.
        lines = ", \n\t".join(parts)
        return f"CREATE TABLE {quote(name)} (\n\t{lines}\n) {join(self.options)}".rstrip()

    def _count(self) -> int:
        return len(self.constraints) + sum(len(column.clauses) for column in self.columns)


def name_of(clause: list[str]) -> str:
    """Return the name of a constraint, or an empty text."""
    return unquote(clause[1]) if clause[0].upper() == "CONSTRAINT" else ""


def kind_of(clause: list[str]) -> str:
    """Return the keyword with which a clause begins after its name."""
    return clause[2 if clause[0].upper() == "CONSTRAINT" else 0].upper()


def _has_name(clause: list[str], name: str, table: str, column: str, *, named: bool) -> bool:
    if named or name_of(clause):
        return named and same_name(name_of(clause), name)
    kind = _KINDS.get(kind_of(clause))
    if kind is None:
        return False
    begin = clause.index("(") if "(" in clause else 0
    end = clause.index(")") if "(" in clause else 0
    columns = [column] if column else [unquote(part[0]) for part in split(clause[begin + 1 : end])]
    return same_name(default_name(kind, table, columns), name)


def normalized(clause: list[str]) -> list[str]:
    """Return tokens that are equal if two clauses differ only in quotes of names and in case."""
    return [word if word[:1] == "'" else unquote(word).lower() for word in clause]


def _is(clause: list[str], keywords: tuple[str, ...]) -> bool:
    return kind_of(clause) in keywords


def _starts_clause(before: str, word: str, after: str, clause: list[str]) -> bool:
    if word not in _STARTS or before in _CONTINUES.get(word, ()):
        return False
    if before == "CONSTRAINT" or (word, after) == ("NOT", "DEFERRABLE"):
        return False
    # After CONSTRAINT and its name, the clause itself begins.
    return not (len(clause) == 2 and clause[0].upper() == "CONSTRAINT")  # noqa: PLR2004


def _depends(constraint: list[str], column: str, left: list[str]) -> bool:
    words = constraint
    if kind_of(words) == "FOREIGN":
        words = words[: next(i for i, word in enumerate(words) if word.upper() == "REFERENCES")]
    names = {unquote(word).lower() for word in words if word[:1] != "'"}
    if column.lower() not in names:
        return False
    return kind_of(words) != "CHECK" or not names & {name.lower() for name in left}
