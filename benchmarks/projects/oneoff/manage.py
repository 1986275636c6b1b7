"""Run the commands of this project."""

from oneoff.cli import main

if __name__ == "__main__":
    raise SystemExit(main("app.project:project"))
