"""Identify the batch of a command line: the same command and arguments resume the same batch."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from enum import Enum
from typing import Any, NamedTuple

from oneoff.core.arguments import Kind
from oneoff.core.conversion import duration_text
from oneoff.services.batch.command import BOUNDS, BatchCommand


class Identity(NamedTuple):
    """Identifies a batch: two runs with the same identity work on the same batch.

    Attributes:
        command: Name as typed by operators: "apikey purge".
        arguments: JSON; without secrets, and without the bounds of a single run.
        part: Names one of several batches of a run, or a shard: "3/8"; empty for the only one.
        parent: For a shard, the id of its parent batch; otherwise empty.
        once: Whether it was named with `--once`, so that it is finished only once.
        reverts: The command of the batch that this one reverts, or that reverts it; empty if none.
        content: For an imported file, what identifies it instead of `arguments`.
    """

    command: str
    arguments: str
    part: str = ""
    parent: str = ""
    once: bool = False
    reverts: str = ""
    content: str = ""

    @property
    def key(self) -> str:
        """A hash, unique among the unfinished batches.

        It does not include `once` and `reverts`, which only affect how the batch is claimed.
        """
        identifying = [self.command, self.content or self.arguments, self.part]
        if self.parent:
            identifying.append(self.parent)
        return hashlib.blake2b(json.dumps(identifying).encode(), digest_size=16).hexdigest()


def identify(command: BatchCommand, name: str, part: str = "", reverts: str = "") -> Identity:
    """Return the identity of the batch of a command with its inputs.

    Args:
        command: With its inputs; secrets and the bounds of a single run are omitted.
        name: Name of the command, or the words that resume the batch.
        part: Names one of several batches of a run.
        reverts: The name of the batch that this one reverts, or that reverts it.
    """
    fields = command.fields().values()
    inputs = {
        field.name: _plain(getattr(command, field.name))
        for field in fields
        if field.kind is not Kind.SECRET and field.name not in BOUNDS
    }
    if not command.once:
        del inputs["once"]  # batches that are older than this input keep their identity
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return Identity(name, text, part, once=bool(command.once), reverts=reverts)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, timedelta):
        return duration_text(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
