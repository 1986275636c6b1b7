"""ASGI middleware, for any framework: nothing here imports one."""
