"""Read facts about a command from its source file, without importing it."""

from __future__ import annotations

import os

_PYC_HEADER = 16


class SourceFacts:
    """The facts in the text of one module.

    Attributes:
        summary: First line of the command's docstring, or of a group's `__init__.py`.
        target: Dotted name of the module from which an alias imports its command, or empty.
        overrides: "yes" if the class sets `overrides = True`, or empty.
        broken: "LINE: message" of a syntax error, or why the file can't be read, or empty.
    """

    __slots__ = ("broken", "overrides", "summary", "target")

    def __init__(
        self, summary: str = "", target: str = "", overrides: str = "", broken: str = ""
    ) -> None:
        self.summary = summary
        self.target = target
        self.overrides = overrides
        self.broken = broken

    def texts(self) -> list[str]:
        """Return the facts in the order of `__init__`, without tabs or line breaks."""
        texts = (self.summary, self.target, self.overrides, self.broken)
        return [" ".join(text.split()) for text in texts]


def read_source_facts(path: str, module: str) -> SourceFacts:
    """Read one source file.

    Args:
        path: The file.
        module: Its dotted name, to resolve relative imports.
    """
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as exc:
        return SourceFacts(broken=f"1: {exc.strerror}")
    text = source.decode("utf-8", "replace")
    if os.path.basename(path) == "__init__.py":
        return SourceFacts(_module_summary(text))
    summary = _class_summary(text)
    return SourceFacts(
        summary or "",
        _alias_target(text, module) if summary is None else "",
        _overrides(text),
        _syntax_error(source, path),
    )


def _overrides(text: str) -> str:
    import re

    said = re.search(r"^[ \t]+overrides\s*(?::[^=\n]+)?=\s*True\b", text, re.MULTILINE)
    return "yes" if said else ""


def _class_summary(text: str) -> str | None:
    """Return the first line of the docstring of the last public command class; None without class.

    A base class comes before the classes that derive from it, so the last class is the command.
    """
    import re

    classes = list(
        re.finditer(
            r"^class\s+(?P<name>[^\W_]\w*)\s*(?:\[[^\]]*\])?\s*\((?P<bases>[^)]*)\)\s*:[^\n]*\n"
            r"(?:[ \t]*(?:#[^\n]*)?\n)*"
            r"(?:[ \t]+[rRuU]?(?P<quote>\"\"\"|'''|\"|')\s*(?P<line>.*?)\s*(?:(?P=quote)|\n))?",
            text,
            re.MULTILINE,
        )
    )
    commands = [match for match in classes if re.search(r"Command\b", match["bases"])]
    found = commands or classes
    return (found[-1]["line"] or "") if found else None


def _module_summary(text: str) -> str:
    import re

    match = re.match(
        r"(?:[ \t]*(?:#[^\n]*)?\n)*[rRuU]?(\"\"\"|'''|\"|')\s*(?P<line>.*?)\s*(?:\1|\n)", text
    )
    return match["line"] if match else ""


def _alias_target(text: str, module: str) -> str:
    """Return the module from which the only name in `__all__` is imported."""
    import re

    exported = re.search(
        r"^__all__\s*(?::[^=\n]+)?=\s*[\[(]\s*[\"'](\w+)[\"']\s*,?\s*[\])]", text, re.MULTILINE
    )
    if not exported:
        return ""
    for source, several, one in re.findall(
        r"^from\s+([.\w]+)\s+import\s*(?:\(([^)]*)\)|([^\n]*))", text, re.MULTILINE
    ):
        if re.search(rf"\b{exported[1]}\b", several or one):
            return _absolute(source, module)
    return ""


def _absolute(source: str, module: str) -> str:
    name = source.lstrip(".")
    level = len(source) - len(name)
    if not level:
        return name
    return ".".join([*module.split(".")[:-level], *filter(None, [name])])


def _syntax_error(source: bytes, path: str) -> str:
    """Return "LINE: message", or an empty text if the source compiles."""
    if _is_compiled(path):
        return ""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as exc:
        return f"{exc.lineno or 1}: {exc.msg}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as exc:
        return f"1: {exc}"
    return ""


def _is_compiled(path: str) -> bool:
    """Return whether Python would use the existing byte code of the source.

    Such a source compiled before, so it has no syntax error.
    """
    from importlib.util import cache_from_source

    try:
        stat = os.stat(path)
        with open(cache_from_source(path), "rb") as file:
            header = file.read(_PYC_HEADER)
    except (OSError, NotImplementedError):
        return False
    from importlib.util import MAGIC_NUMBER

    modified = (int(stat.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
    size = (stat.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    # PEP 552: magic number, flags (0: checked by time and size), time, size.
    return header == MAGIC_NUMBER + bytes(4) + modified + size
