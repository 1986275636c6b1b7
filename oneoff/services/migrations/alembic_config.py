"""Find the project's Alembic configuration: alembic.ini or `[tool.alembic]` in pyproject.toml."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from alembic.config import Config
from alembic.util import coerce_resource_to_filename

# The names of new files in a project without configuration of Alembic: they sort by date.
_FILE_TEMPLATE = "%(year)d%(month).2d%(day).2d_%(rev)s_%(slug)s"


class ProjectConfig(Config):
    """Alembic's configuration, with paths relative to the project's root and not to the process."""

    root: Path
    folder: Path
    also: Path | None

    def get_version_locations_list(self) -> list[str] | None:
        """Return the folders of the revisions."""
        given = self._absolute(super().get_version_locations_list())
        if self.also is None:
            return given
        return [*(given or [str(self.folder / "versions")]), str(self.also)]

    def get_prepend_sys_paths_list(self) -> list[str] | None:
        """Return the folders that Alembic adds to `sys.path`."""
        return self._absolute(super().get_prepend_sys_paths_list())

    def _absolute(self, paths: list[str] | None) -> list[str] | None:
        if paths is None:
            return None
        return [str(self.root / coerce_resource_to_filename(path)) for path in paths]


def load_config(folder: Path, root: Path, also: Path | None = None) -> Config:
    """Return the configuration whose `script_location` is the folder, or an empty one.

    Args:
        folder: The folder that holds `env.py`.
        root: The project's root folder.
        also: A second folder with revisions, which are not part of the project yet.
    """
    toml = root / "pyproject.toml"
    for file in dict.fromkeys([root / "alembic.ini", folder.parent / "alembic.ini"]):
        config = _make(root, file if file.is_file() else None, toml if toml.is_file() else None)
        location = config.get_alembic_option("script_location")
        if location and _same(root / coerce_resource_to_filename(location), folder):
            break
    else:
        config = _make(root, None, None)
        config.set_main_option("file_template", _FILE_TEMPLATE.replace("%", "%%"))
    config.folder, config.also = folder, also
    # What an env.py may ask about the command line of Alembic.
    config.cmd_opts = Namespace(x=None, autogenerate=True, quiet=True)
    # A % begins an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    if not config.get_main_option("path_separator"):
        config.set_main_option("path_separator", "os")
    return config


def _make(root: Path, ini: Path | None, toml: Path | None) -> ProjectConfig:
    config = ProjectConfig(ini, toml_file=toml)
    config.root, config.also = root, None
    return config


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
