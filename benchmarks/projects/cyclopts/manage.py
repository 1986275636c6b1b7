"""A cyclopts application that imports a command when it is asked for."""

from pathlib import Path

from cyclopts import App

app = App(name="manage")
for file in sorted((Path(__file__).parent / "commands").glob("[a-z]*.py")):
    app.command(f"commands.{file.stem}:command", name=file.stem.replace("_", "-"))

if __name__ == "__main__":
    app()
