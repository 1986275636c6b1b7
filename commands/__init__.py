"""The commands of the project: `user/create.py` is `user create`.

A module imports only what its declaration needs, and `handle` imports the service. This keeps
`--help`, completion and usage errors fast: they load the classes without SQLAlchemy.
"""
