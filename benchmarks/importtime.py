"""Show the imports of one of our commands and their time, with `-X importtime`."""

import re
import subprocess
from dataclasses import dataclass

from measure import Case

LINE = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Import:
    """One module: its own microseconds, and those together with its imports."""

    own: int
    total: int
    name: str


def profile(case: Case) -> list[Import]:
    """Run a case and return its imports, in the order in which they ended.

    The case must have run before, so that byte code and file cache are warm.
    """
    argv = (case.argv[0], "-X", "importtime", *case.argv[1:])
    done = subprocess.run(
        argv, cwd=case.cwd, env=case.env, capture_output=True, text=True, check=False
    )
    return [Import(int(own), int(all_), name) for own, all_, _, name in LINE.findall(done.stderr)]


def table(imports: list[Import], top: int = 25) -> str:
    """Return the slowest modules by total and by own time, in milliseconds."""
    by_total = sorted(imports, key=lambda one: -one.total)[:top]
    by_own = sorted(imports, key=lambda one: -one.own)[:top]
    lines = [f"{len(imports)} modules, {sum(one.own for one in imports) / 1000:.1f} ms in total"]
    lines.append(f"{'ms with its imports':<48}  {'ms alone'}")
    for total, own in zip(by_total, by_own, strict=True):
        left = f"{total.total / 1000:8.1f}  {total.name}"
        lines.append(f"{left:<48}  {own.own / 1000:8.1f}  {own.name}")
    return "\n".join(lines)
