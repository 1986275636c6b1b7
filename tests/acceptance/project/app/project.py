"""Declare the test project."""

from oneoff import Project

project = Project(
    "shop",
    metadata="app.models:Base.metadata",
    migrations="migrations",
    resources={"scribble": "app.aside:open_scribble", "ledger": "app.aside:open_ledger"},
)
