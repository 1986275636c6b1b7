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
    tasks={
        "db migrate": "app.admin_tasks:MIGRATE",
        "db rollback": "app.admin_tasks:ROLLBACK",
        "db backup": "app.admin_tasks:BACKUP",
        "data cleanup": "app.admin_tasks:CLEANUP",
        "cache clear": "app.admin_tasks:CLEAR_CACHE",
        "system maintenance on": "app.admin_tasks:MAINTENANCE",
        "data export": "app.admin_tasks:EXPORT_USERS",
    },
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
