"""The catalogue of admin tasks: what is declared, and what has been run."""
