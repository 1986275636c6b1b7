"""Cache the facts read from source files between processes, so that listing 500 files is fast.

The cache is one text file for each folder of commands, in $XDG_CACHE_HOME/oneoff or
~/.cache/oneoff, with one line for each source file. A line is valid only while the source file's
change times, size and inode are the same, so it can't be stale. A file that was changed less than
`SETTLED_NS` ago is not cached, because a second change within the same tick of the file system's
clock would not be noticed. A cache that can't be read or written counts as empty.
"""

from __future__ import annotations

import os
import sys
import time

from oneoff.runtime.registry.source_facts import SourceFacts, read_source_facts

FORMAT = "oneoff-index 1"
FACTS = 4  # fields of `SourceFacts`
_LONGEST = 60  # characters of a folder's path in the name of its index
# FAT has the coarsest clock of all file systems: 2 s.
SETTLED_NS = 2_000_000_000
"""Nanoseconds after a change from which a file's times can be trusted."""


class Index:
    """The facts of the source files in one folder.

    Args:
        folder: Absolute path of the package's folder.
    """

    def __init__(self, folder: str) -> None:
        self._path = _cache_path(folder)
        self._header = f"{FORMAT} {sys.implementation.cache_tag} {folder}"
        self._known = self._load()
        self._current: dict[str, str] = {}

    def facts(self, module: str, entry: os.DirEntry[str]) -> SourceFacts:
        """Return the facts of a module; its source is read only if it changed."""
        try:
            stat = entry.stat()
        except OSError:  # just deleted, or a broken link
            return read_source_facts(entry.path, module)
        key = f"{module} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_size} {stat.st_ino}"
        known = self._known.get(key, "")
        texts = known.split("\t")
        if len(texts) == FACTS:
            self._current[key] = known
            return SourceFacts(*texts)
        facts = read_source_facts(entry.path, module)
        if time.time_ns() - stat.st_ctime_ns > SETTLED_NS:
            self._current[key] = "\t".join(facts.texts())
        return facts

    def save(self) -> None:
        """Write the index if it changed, atomically even if other processes write it too."""
        if self._current == self._known or not self._path:
            return
        lines = [self._header, *(f"{key}\t{facts}" for key, facts in self._current.items())]
        # The name is random, because processes of two containers may have the same id and share a
        # cache.
        temporary = f"{self._path}.{os.urandom(6).hex()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(temporary, "x", encoding="utf-8", errors="surrogateescape") as file:
                file.write("\n".join(lines))
            os.replace(temporary, self._path)
        except OSError:
            _remove(temporary)

    def _load(self) -> dict[str, str]:
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                header, *lines = file.read().split("\n")
        except OSError:
            return {}
        if header != self._header:
            return {}
        return {key: facts for key, _, facts in [line.partition("\t") for line in lines]}


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        return


def _cache_path(folder: str) -> str:
    """Return the path of the index, or an empty text if there is no folder for it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(base):
        return ""
    # Long paths are cut. Folders whose paths have the same end overwrite each other's index; the
    # header names the folder, so neither reads the other's.
    name = folder.replace(os.sep, "%")[-_LONGEST:]
    return os.path.join(base, "oneoff", f"{name}.index")
