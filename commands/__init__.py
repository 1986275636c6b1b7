"""The project's own commands: `user/create.py` is `user create`.

A module imports what its declaration needs; `handle` imports the service it calls. So `--help`,
completion and usage errors stay quick: they load the classes, not SQLAlchemy.
"""
