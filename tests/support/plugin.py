"""A plug-in that is installed for one test: a module, and the metadata with its entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def installed_plugin(
    folder: Path,
    entry_points: str,
    files: Mapping[str, str],
    *,
    name: str = "acme",
) -> Iterator[None]:
    """Install a distribution while the block runs, and forget its modules afterwards.

    Args:
        folder: An empty folder, which becomes the first one of `sys.path`.
        entry_points: The content of its entry_points.txt.
        files: The texts of its source files by their paths.
        name: The name of the distribution. Its version is 1.0.
    """
    for path, text in {
        f"{name}-1.0.dist-info/entry_points.txt": entry_points,
        **files,
    }.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    tops = {Path(path).parts[0].removesuffix(".py") for path in files}
    for module in [one for one in sys.modules if one.partition(".")[0] in tops]:
        del sys.modules[module]
