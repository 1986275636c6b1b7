"""Compressed files are decompressed in small parts, whatever their content."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from oneoff.core.errors import DataError
from oneoff.services.data.imports.source import Source

MIB = 1 << 20
SIZE = 100 * MIB
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def compressed(suffix: str) -> bytes:
    """Return a large file of the same character, which gets a thousand or more times smaller."""
    if suffix == "gz":
        return gzip.compress(b"a" * SIZE)
    return zstandard.ZstdCompressor().compress(b"a" * SIZE)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_small_file_with_a_large_content_needs_little_memory(tmp_path: Path, suffix: str) -> None:
    """At most a few dozen MiB at a time."""
    path = tmp_path / f"large.{suffix}"
    path.write_bytes(compressed(suffix))
    with path.open("rb") as file:
        blocks = Source(str(path), file).read_blocks()
        tracemalloc.start()
        try:
            size = sum(map(len, blocks))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert SIZE == size
    assert path.stat().st_size < MIB
    assert peak < 40 * MIB


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_may_be_joined(tmp_path: Path, suffix: str) -> None:
    """Also if thousands of them are in one part, or one of them is empty."""
    path = tmp_path / f"joined.{suffix}"
    compress = gzip.compress if suffix == "gz" else zstandard.ZstdCompressor().compress
    path.write_bytes(
        b"".join(compress(b"%d\n" % number) for number in range(3_000)) + compress(b"")
    )
    with path.open("rb") as file:
        content = b"".join(Source(str(path), file).read_blocks())

    assert b"".join(b"%d\n" % number for number in range(3_000)) == content


def test_a_zstd_file_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    """Its header asks for the last 256 MiB of its content."""
    path = tmp_path / "wide.csv.zst"
    window, last_block = bytes([18 << 3]), b"\x09\x00\x00"
    path.write_bytes(ZSTD_MAGIC + b"\x00" + window + last_block + b"a")

    with path.open("rb") as file, pytest.raises(DataError, match="too much memory"):
        list(Source(str(path), file).read_blocks())
