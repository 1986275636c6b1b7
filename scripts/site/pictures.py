"""Draw the pictures of the documentation from the tables and lists that they show.

    python -m scripts.site.pictures     writes docs/pictures/run.svg and layers.svg

`tests/unit/house/test_pictures.py` fails if a picture is older than its source.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
STEP = re.compile(r"^\| (\d+) ([^|]+) \| `([^`]+)` \|", re.MULTILINE)
LAYER = re.compile(r"^\| (`[^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAME = re.compile(r"`(?:oneoff/)?([\w.]+)")
STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2933 }
.name { font-weight: 600 }
.small { font-size: 11.5px; fill: #52606d }
.code { font: 10px ui-monospace, Menlo, Consolas, monospace; fill: #52606d }
.number { font-weight: 600; fill: #fff }
.box { fill: #fff; stroke: #9aa5b1 }
.arrow { stroke: #52606d; stroke-width: 1.5; fill: none; marker-end: url(#head) }
"""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 8 4 0 8z" fill="#52606d"/></marker></defs>'
)
PHASES = ((2, "#627d98"), (4, "#b44d12"), (8, "#0c6b58"), (10, "#5f43b2"))
"""The colour of the steps up to a number."""
SIDE = (
    '<text transform="translate(28 {y:g}) rotate(-90)" class="small">imports only downwards</text>'
)
NOTES = (
    "If a step from 3 to 7 refuses or fails, step 8 rolls back; 9 and 10 follow.",
    "A dry run has the same steps. Step 8 counts the rows and rolls back.",
)


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return one line of text; `kind` is its class in the style."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="box"/>'


def svg(title: str, width: int, height: int, parts: list[str]) -> str:
    """Return a picture with a white background, which is readable on a dark page too."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>{HEAD}",
            f'<rect width="{width}" height="{height}" rx="8" fill="#f5f7fa"/>',
            *parts,
            "</svg>\n",
        ]
    )


def run_picture(page: str) -> str:
    """Draw the ten steps of a run, from the table of the page."""
    parts = []
    for number, name, module in STEP.findall(page):
        row, column = divmod(int(number) - 1, 5)
        x, y = 20 + column * 188, 24 + row * 118
        color = next(color for last, color in PHASES if int(number) <= last)
        file = module.removeprefix("oneoff/")
        parts += [
            box(x, y, 168, 78),
            f'<circle cx="{x + 22}" cy="{y + 24}" r="13" fill="{color}"/>',
            text(x + (18 if int(number) < 10 else 14), y + 29, number, "number"),
            text(x + 42, y + 29, name if len(name) < 15 else name.partition(" or ")[0], "name"),
            text(x + 12, y + 60, file, "code"),
        ]
        if column < 4:
            parts.append(f'<path class="arrow" d="M{x + 169} {y + 39}h18"/>')
    parts += [
        '<path class="arrow" d="M856 103v10H104v28"/>',
        *(text(20, 262 + 20 * at, line, "small") for at, line in enumerate(NOTES)),
    ]
    return svg("The ten steps of a run", 960, 300, parts)


def layers_picture(pyproject: str, contributing: str) -> str:
    """Draw the layers of oneoff: their order from the contract, their texts from the table."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one.get("containers") == ["oneoff"]]
    table = LAYER.findall(contributing.partition("## The layers of oneoff")[2])
    holds = {name: words for cell, words in table for name in NAME.findall(cell)}
    parts, y = [], 20
    for layer in ["__init__.py", *layers]:
        names = layer.split(" | ")
        width = (800 - 12 * (len(names) - 1)) / len(names)
        lines = [textwrap.wrap(plain(holds[name]), int(width / 6.4)) for name in names]
        height = 32 + 16 * max(len(found) for found in lines)
        for at, name in enumerate(names):
            x = 76 + at * (width + 12)
            parts += [box(x, y, width, height), text(x + 12, y + 21, name, "name")]
            for number, line in enumerate(lines[at]):
                parts.append(text(x + 12, y + 40 + 16 * number, line, "small"))
        y += height + 10
    parts += [
        f'<path class="arrow" d="M40 28V{y - 18}"/>',
        SIDE.format(y=y / 2 + 60),
    ]
    return svg("The layers of oneoff", 896, y + 10, parts)


def plain(markdown: str) -> str:
    """Return a cell of a table without links and code signs."""
    return re.sub(r" ?\(\[[^)]*\)\)|`", "", markdown)


def pictures() -> dict[str, str]:
    """Return the pictures by the name of their file."""
    read = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("docs/explanation/life-of-a-run.md", "pyproject.toml", "CONTRIBUTING.md")
    }
    run, pyproject, contributing = read.values()
    return {
        "run.svg": run_picture(run),
        "layers.svg": layers_picture(pyproject, contributing),
    }


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        (PICTURES / name).write_text(picture, encoding="utf-8")
        print(f"wrote docs/pictures/{name}")


if __name__ == "__main__":
    main()
