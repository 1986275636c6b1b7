"""Hooks of mkdocs: the navigation, files outside of docs/, the reference of the public names.

The pages stay as a forge shows them. What differs on the site is done here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PUBLIC_NAMES = "reference/public-names.md"
PROJECT_FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages at the root of the repository that the site has too, in its folder `project`."""

_HEADING = re.compile(r"^(##+) (.+)$")
_ITEM = re.compile(r"^- \[(.+?)\]\(([^)]+)\)")
_LINK = re.compile(r"(\]\()([^)\s#]+)")
_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|icon)[^>]*\bhref=["']?(?:https?:)?//"""
    r"""|@import\s+(?:url\()?["']?(?:https?:)?//"""
)
"""What a browser would load from another host."""


def on_config(config: Any) -> Any:
    """Set the navigation to the sections of docs/index.md."""
    config["nav"] = [
        {"Home": "index.md"},
        *navigation((DOCS / "index.md").read_text(encoding="utf-8")),
        {"Project": [f"project/{name}" for name in PROJECT_FILES]},
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the repository's root, and a page for each public module."""
    from mkdocs.structure.files import File

    pages = {f"project/{name}": (ROOT / name).read_text(encoding="utf-8") for name in PROJECT_FILES}
    pages |= api_pages((DOCS / PUBLIC_NAMES).read_text(encoding="utf-8"))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Lead links that leave docs/ to the same file on the site or on the forge."""
    source = page.file.src_uri
    if source == PUBLIC_NAMES:
        markdown = with_links_to_the_api(markdown)
    return with_links_of_the_site(markdown, source, config["extra"]["forge"])


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that loads something from another host."""
    if found := foreign_parts(output):
        from mkdocs.exceptions import PluginError

        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}")
    return output


def navigation(index: str) -> list[dict[str, list[Any]]]:
    """Return the nav of mkdocs: a section for each heading of the index, with its pages.

    A list item is a page, by the first link in it. The catalogue of admin tasks is a section.
    """
    top: list[dict[str, list[Any]]] = []
    section: list[Any] = []
    for line in index.splitlines():
        if heading := _HEADING.match(line):
            section = []
            level = top if heading[1] == "##" else next(iter(top[-1].values()))
            level.append({heading[2]: section})
        elif item := _ITEM.match(line):
            section.append({item[1].replace("`", ""): item[2]})
            if item[2] == PUBLIC_NAMES:
                section.append({"API": list(api_pages((DOCS / item[2]).read_text("utf-8")))})
    catalogue = sorted(f"tasks/{path.name}" for path in DOCS.glob("tasks/ADM-*.md"))
    top.append({"Admin tasks": ["tasks/README.md", *catalogue]})
    return top


def api_pages(public_names: str) -> dict[str, str]:
    """Return the pages of the API: one for each module of the page of public names.

    Their texts are instructions for mkdocstrings, which reads the docstrings.
    """
    pages = {}
    for module, section in modules(public_names):
        lines = _ROW.sub(rf"::: {module}.\1\n|", section).splitlines()
        kept = [line.removeprefix("#") for line in lines if line.startswith(("### ", "::: "))]
        pages[f"reference/api/{module}.md"] = "\n\n".join([f"# {module}", *kept])
    return pages


def with_links_to_the_api(public_names: str) -> str:
    """Return the page of public names with a link from each name to its entry in the API."""
    for module, section in modules(public_names):
        linked = _ROW.sub(rf"| [`\1`](api/{module}.md#{module}.\1) |", section)
        public_names = public_names.replace(section, linked)
    return public_names


def modules(public_names: str) -> list[tuple[str, str]]:
    """Return the sections of the page of public names, with the module that each describes."""
    sections = [part.partition("\n") for part in public_names.split("\n## ")[1:]]
    return [(title, text) for title, _, text in sections]


def with_links_of_the_site(markdown: str, source: str, forge: str) -> str:
    """Return a page whose links to files outside of docs/ have a target on the site."""
    folder = ROOT if source.startswith("project/") else (DOCS / source).parent
    here = os.path.dirname(source)

    def replaced(link: re.Match[str]) -> str:
        if "://" in link[2]:
            return link[0]
        target = Path(os.path.normpath(folder / link[2]))
        if not target.is_relative_to(ROOT):
            return link[0]
        if target.is_relative_to(DOCS):
            page = target.relative_to(DOCS).as_posix()
        elif target.parent == ROOT and target.name in PROJECT_FILES:
            page = f"project/{target.name}"
        else:
            kind = "tree" if target.is_dir() else "blob"
            return f"{link[1]}{forge}/{kind}/main/{target.relative_to(ROOT).as_posix()}"
        return f"{link[1]}{os.path.relpath(page, here or '.')}"

    return _LINK.sub(replaced, markdown)


def foreign_parts(html: str) -> list[str]:
    """Return the tags with which a page loads something from another host."""
    return _LOADED.findall(html)
