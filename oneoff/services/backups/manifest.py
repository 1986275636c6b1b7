"""Describe a backup in a manifest, a JSON file beside it, and check the two before a restore."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from typing import Any, NamedTuple

from oneoff.core.errors import CommandError, DataError
from oneoff.utils.concurrency import in_daemon_thread

SUFFIX = ".json"
"""Added to the name of a backup, it is the name of its manifest."""
_FORMAT = 1
_TEXTS = "kind project database identity environment schema code_version oneoff sha256 run"
_TYPES = dict.fromkeys(_TEXTS.split(), str) | {"server": int, "size": int}


class Manifest(NamedTuple):
    """What is known about a backup.

    Attributes:
        kind: "postgresql" or "sqlite".
        project: The name of the project.
        database: The name of the database.
        identity: Its identity, as in `oneoff.config.environment.Facts`.
        environment: The environment of the run that made the backup.
        revisions: The project's revisions that the database had.
        schema: The revision of the framework's tables; empty if there were none.
        code_version: The commit of the code that made it.
        oneoff: The version of oneoff that made it.
        server: The version of the server, such as 150018; of SQLite it is 3045001.
        sha256: Hash of the file, in hex.
        size: Bytes of the file.
        made_at: When the run started, so not later than the data in the backup.
        run: The id of the run that made it.
    """

    kind: str
    project: str
    database: str
    identity: str
    environment: str
    revisions: tuple[str, ...]
    schema: str
    code_version: str
    oneoff: str
    server: int
    sha256: str
    size: int
    made_at: datetime
    run: str

    def facts(self) -> dict[str, Any]:
        """Return the attributes as JSON has them."""
        return self._asdict() | {"made_at": self.made_at.isoformat()}

    def to_json(self) -> str:
        """Return the content of the manifest's file."""
        facts = {"format": _FORMAT, **self.facts()}
        return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def absolute(path: str) -> str:
    """Return the absolute path of a backup, for the record and for messages."""
    return os.path.abspath(path)


def hash_file(path: str) -> str:
    """Return the sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: str) -> Manifest:
    """Read the manifest of a backup, and check that the file has its size.

    Args:
        path: The backup.

    Raises:
        DataError: One of the two files is missing or damaged.
    """
    try:
        size = os.stat(path).st_size
        with open(path + SUFFIX, encoding="utf-8") as file:
            facts = json.load(file)
    except OSError as exc:
        raise bad_backup(
            f"{exc.filename} can't be read: {exc.strerror}",
            f"a backup is a file and its manifest, {os.path.basename(path)}{SUFFIX}",
        ) from exc
    except ValueError as exc:
        raise bad_backup(f"{path}{SUFFIX} is not a manifest", "it is not valid JSON") from exc
    manifest = _from_json(facts, path)
    if size != manifest.size:
        raise bad_backup(
            f"{path} has {size:,} bytes instead of {manifest.size:,}",
            "it is incomplete, or was changed after it was made",
        )
    return manifest


async def check_hash(path: str, manifest: Manifest) -> None:
    """Check that the content of a backup is the one that its manifest describes.

    Raises:
        DataError: It is not.
    """
    if await in_daemon_thread(lambda: hash_file(path)) != manifest.sha256:
        raise bad_backup(
            f"{path} has another sha256 than its manifest says",
            "it is damaged, or was changed after it was made",
        )


def bad_backup(message: str, why: str) -> DataError:
    """Return the error for a backup that can't be restored."""
    return DataError(
        message, why=f"{why}; nothing was changed", try_="restore another backup", code="bad-backup"
    )


def newer_backup(message: str, why: str, try_: str) -> CommandError:
    """Return the error for a backup that this code or this server is too old for."""
    return DataError(message, why=f"{why}; nothing was changed", try_=try_, code="newer-backup")


def _from_json(facts: Any, path: str) -> Manifest:
    if isinstance(facts, dict) and isinstance(facts.get("format"), int):
        if facts["format"] > _FORMAT:
            raise newer_backup(
                f"{path} was made by oneoff {facts.get('oneoff')}",
                "this version can't read its manifest",
                "install that version of oneoff",
            )
        values: dict[str, Any] = {name: facts.get(name) for name in Manifest._fields}
        try:
            values["revisions"] = tuple(values["revisions"])
            values["made_at"] = datetime.fromisoformat(values["made_at"])
            if all(type(values[name]) is type_ for name, type_ in _TYPES.items()):
                return Manifest(**values)
        except (TypeError, ValueError):
            pass
    raise bad_backup(f"{path}{SUFFIX} is not a manifest", "it does not have the fields of one")
