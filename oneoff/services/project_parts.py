"""Things that a project names several of, by a text in `Project`: seeds, warmers, and the like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from oneoff.core.errors import ConfigurationError, UsageError
from oneoff.core.project import Project, load_object
from oneoff.utils.suggestions import similar


class Parts(NamedTuple):
    """One kind of them.

    Attributes:
        attribute: Of `Project`: "retention".
        noun: One of them: "retention rule".
        example: What the attribute may be: "app.retention:RULES".
        made_of: What stands there: "oneoff.Retention".
        line: The command line that a name makes complete: "data cleanup --only".
    """

    attribute: str
    noun: str
    example: str
    made_of: str
    line: str

    def of(self, project: Project, *, code: str) -> list[Any]:
        """Return all of a project's, in its order.

        Args:
            project: Whose.
            code: Of the error.

        Raises:
            ConfigurationError: There are none, or two of one name.
        """
        where: str = getattr(project, self.attribute)
        if not where:
            raise ConfigurationError(
                f"the project {project.name!r} has no {self.noun}s",
                try_=f'name them: Project(..., {self.attribute}="{self.example}"), a sequence of '
                f"{self.made_of}",
                code=code,
            )
        found = list(load_object(where))
        names = [part.name for part in found]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(
                f"two {self.noun}s are called {', '.join(twice)}",
                why="each is known by its name",
                try_=f"rename one of them in {where.partition(':')[0]}",
                code=code,
            )
        return found

    def unknown(self, name: str, found: Iterable[Any], *, code: str) -> UsageError:
        """Return the error for a name that none of them has."""
        names = [part.name for part in found]
        near = similar(name, names)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        return UsageError(
            f"there is no {self.noun} {name!r}{meant}",
            try_=(
                *(f"python manage.py {self.line} {word}" for word in near[:1]),
                f"one of the project's {self.noun}s: {', '.join(names) or 'there are none'}",
            ),
            code=code,
        )


SEEDS = Parts("seeds", "seed", "app.seeds:SEEDS", "oneoff.Seed", "db seed")
WARMERS = Parts("warmers", "warmer", "app.warmers:WARMERS", "oneoff.Warmer", "cache warm")
RETENTION = Parts(
    "retention", "retention rule", "app.retention:RULES", "oneoff.Retention", "data cleanup --only"
)
TRANSFORMS = Parts(
    "transforms",
    "transform",
    "app.transforms:TRANSFORMS",
    "subclasses of oneoff.Transform",
    "data transform",
)
