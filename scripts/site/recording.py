"""Record a session at a terminal as a picture: real processes, with the colours that they print.

    python -m scripts.site.recording     writes docs/pictures/session.svg

The picture shows one command after the other. It is not drawn again by a test, because times and
ids differ from run to run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from scripts.site.pictures import PICTURES, ROOT
from tests.support.terminal import Person

SESSION: tuple[tuple[str, dict[str, str]], ...] = (
    ("migrate", {}),
    ("user create ada ada@example.com --generate-password", {}),
    ("user promote ada admin --dry-run", {}),
    ("user promote ada admin", {"[y/N]": "y\n"}),
    ("audit list", {}),
)
"""The lines, and what the person types when a text appears."""
LINE, LEFT, TOP = 19, 18, 50  # pixels
PAUSE = 1.6  # seconds between two commands
CODES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
STYLE = """
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d9e2ec;
  white-space: pre }
.prompt { fill: #7bc47f } .bold { font-weight: 700 } .dim { fill: #9fb3c8 } .red { fill: #f29b9b }
.green { fill: #7bc47f } .yellow { fill: #f7d070 } .cyan { fill: #62cdd9 }
.later { opacity: 0; animation: show 0.01s forwards }
@keyframes show { to { opacity: 1 } }
@media (prefers-reduced-motion) { .later { opacity: 1; animation: none } }
"""
_SGR = re.compile(r"\x1b\[([\d;]*)m")
_OTHER = re.compile(r"\x1b\[[0-9;?]*[A-La-ln-z]|\x1b\].*?\x07")


class Shown(NamedTuple):
    """One command with what the terminal showed."""

    line: str
    output: str


def record(folder: Path) -> Iterator[Shown]:
    """Run the session in a new database, and yield each command with its output."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATABASE_URL": f"sqlite:///{folder}/shop.sqlite3",
        "ENVIRONMENT": "development",
        "OPERATOR": "sam",
        "COLUMNS": "96",
    }
    for line, answers in SESSION:
        person = Person(shlex.split(line), cwd=ROOT, env=environ)
        for question, answer in answers.items():
            person.sees(question)
            person.types(answer)
        if person.leaves():
            message = f"{line} has failed:\n{person.screen}"
            raise RuntimeError(message)
        yield Shown(line, person.received)


def lines(output: str) -> list[str]:
    """Return the lines that stay on the screen: a progress bar is written over."""
    text = _OTHER.sub("", output).replace("\r\n", "\n").rstrip("\n")
    return [line.rpartition("\r")[2] for line in text.split("\n")]


def spans(line: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a line of the terminal, each with the classes of its colours."""
    classes: list[str] = []
    for at, part in enumerate(_SGR.split(line)):
        if at % 2 == 0:
            if part:
                yield part, " ".join(classes)
        else:
            codes = part.split(";")
            more = [CODES[code] for code in codes if code in CODES]
            classes = [] if codes in (["0"], [""]) else [*classes, *more]


def picture(session: list[Shown]) -> str:
    """Return the session as a picture in which the commands appear one after the other."""
    rows: list[str] = []
    y = TOP
    for number, shown in enumerate(session):
        late = number * PAUSE
        command = f'<tspan class="prompt">$</tspan> python manage.py {escape(shown.line)}'
        rows.append(row(y, late, command))
        y += LINE
        for line in lines(shown.output):
            parts = (f'<tspan class="{kind}">{escape(part)}</tspan>' for part, kind in spans(line))
            rows.append(row(y, late + PAUSE / 2, "".join(parts)))
            y += LINE
        y += LINE // 2
    dots = "".join(f'<circle cx="{22 + 18 * at}" cy="20" r="5" fill="#627d98"/>' for at in range(3))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {y}" role="img">',
            f"<title>A session with oneoff</title><style>{STYLE}</style>",
            f'<rect width="800" height="{y}" rx="8" fill="#102a43"/>{dots}',
            *rows,
            "</svg>\n",
        ]
    )


def row(y: int, seconds: float, content: str) -> str:
    """Return a line of the terminal that appears after some seconds."""
    style = f'class="later" style="animation-delay: {seconds:g}s"'
    return f'<text x="{LEFT}" y="{y}" {style} xml:space="preserve">{content}</text>'


def main() -> None:
    """Write the picture."""
    folder = Path(tempfile.gettempdir()) / "shop"  # the session shows this name
    folder.mkdir()
    try:
        session = list(record(folder))
    finally:
        shutil.rmtree(folder)
    (PICTURES / "session.svg").write_text(picture(session), encoding="utf-8")
    print("wrote docs/pictures/session.svg")


if __name__ == "__main__":
    main()
