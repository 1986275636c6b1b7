"""Generate equivalent projects from the trees under projects/.

A tree is copied unchanged. A template `report_NUMBER.py.tmpl` becomes one command for each number,
and `revision_NUMBER.py.tmpl` one migration. `$number` and `$previous` are replaced.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from string import Template

TREES = Path(__file__).resolve().parent / "projects"
REVISIONS = 10  # revision_001 is in the tree


def project(target: Path, trees: Iterable[str], commands: int) -> Path:
    """Write a project from `trees` with this many commands, and return its folder.

    One of the commands is `answer`, which is in every tree; the others are report-001 and so on.
    """
    for tree in trees:
        shutil.copytree(TREES / tree, target, dirs_exist_ok=True, ignore=_byte_code)
    for template in list(target.rglob("*_NUMBER.py.tmpl")):
        is_command = template.name.startswith("report_")
        _expand(template, range(1, commands) if is_command else range(2, REVISIONS + 1))
    return target


def _byte_code(_folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__"}


def _expand(template: Path, numbers: range) -> None:
    text = Template(template.read_text())
    for number in numbers:
        name = template.name.removesuffix(".tmpl").replace("NUMBER", f"{number:03}")
        body = text.substitute(number=f"{number:03}", previous=f"{number - 1:03}")
        template.with_name(name).write_text(body)
    template.unlink()
