"""The catalogue of admin tasks: what commands declare, and what the record shows of their runs."""
