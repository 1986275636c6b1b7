"""Declare the project for its commands.

Each part is an import string, so importing this module imports none of the parts.
"""

from oneoff import Project

project = Project(
    name="shop",
    commands=("commands",),
    settings="app.settings:Settings",
    metadata="app.models:Base.metadata",
    migrations="migrations",
    seeds="app.seeds:SEEDS",
    warmers="app.warmers:WARMERS",
    retention="app.retention:RULES",
    transforms="app.transforms:TRANSFORMS",
    outbox="app.outbox:HANDLERS",
    resources={"mailer": "app.mailer:open_mailer"},
    worker="app.worker:WorkerSettings",
    shell={
        "User": "app.models:User",
        "Role": "app.roles:Role",
        "users": "app.users",
        "ApiKey": "app.models:ApiKey",
        "ServiceAccount": "app.models:ServiceAccount",
        "Event": "app.models:Event",
        "apikeys": "app.apikeys",
    },
)
