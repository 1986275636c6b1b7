"""Load the seeds, warmers, retention rules and transforms that a project declares.

Each kind is a sequence, which `Project` names by an import string. Each item has a `name`, which
operators type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.project import Project, load_object
from oneoff.utils.suggestions import similar


class ProjectPart(NamedTuple):
    """One kind of items that a project declares; its texts are used in error messages.

    Attributes:
        attribute: The attribute of `Project` with the import string: "retention".
        noun: The word for one item: "retention rule".
        example: An example of the import string: "app.retention:RULES".
        item_type: The type of the items: "oneoff.Retention".
        command_line: The command line that takes an item's name: "data cleanup --only".
    """

    attribute: str
    noun: str
    example: str
    item_type: str
    command_line: str

    def load(self, project: Project, *, code: str) -> list[Any]:
        """Import and return all items of a project, in the order of the sequence.

        Args:
            project: The project that declares them.
            code: The error code.

        Raises:
            ConfigurationError: The project declares none, or two items have the same name.
        """
        where: str = getattr(project, self.attribute)
        if not where:
            raise ConfigurationError(
                f"the project {project.name!r} declares no {self.noun}s",
                try_=f'declare them: Project(..., {self.attribute}="{self.example}"), a sequence '
                f"of {self.item_type}",
                code=code,
            )
        items = list(load_object(where))
        names = [item.name for item in items]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(
                f"two {self.noun}s are named {', '.join(twice)}",
                why="each needs its own name",
                try_=f"rename one of them in {where.partition(':')[0]}",
                code=code,
            )
        return items

    def unknown_name(self, name: str, items: Iterable[Any], *, code: str) -> UsageError:
        """Return the error for a name that no item has."""
        names = [item.name for item in items]
        near = similar(name, names)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return UsageError(
            f"there is no {self.noun} {name!r}{meant}",
            try_=(
                *(f"python manage.py {self.command_line} {word}" for word in near[:1]),
                f"one of the project's {self.noun}s: {', '.join(names) or 'there are none'}",
            ),
            code=code,
        )


SEEDS = ProjectPart("seeds", "seed", "app.seeds:SEEDS", "oneoff.Seed", "db seed")
WARMERS = ProjectPart("warmers", "warmer", "app.warmers:WARMERS", "oneoff.Warmer", "cache warm")
RETENTION = ProjectPart(
    "retention", "retention rule", "app.retention:RULES", "oneoff.Retention", "data cleanup --only"
)
TRANSFORMS = ProjectPart(
    "transforms",
    "transform",
    "app.transforms:TRANSFORMS",
    "subclasses of oneoff.Transform",
    "data transform",
)
