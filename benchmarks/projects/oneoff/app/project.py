"""The project, as oneoff knows it."""

from oneoff import Project

project = Project(
    name="bench",
    commands=("commands",),
    migrations="migrations",
    metadata="app.models:Base.metadata",
)
