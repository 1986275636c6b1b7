"""Run a command of this project; `python manage.py help` lists them."""

from oneoff.cli import main

if __name__ == "__main__":
    raise SystemExit(main("app.project:project"))
