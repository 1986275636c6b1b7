"""A small project for tests that need real processes."""

from oneoff.cli import main

if __name__ == "__main__":
    raise SystemExit(main("app.project:project"))
