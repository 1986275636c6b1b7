"""A Typer application with a module for each command."""

import pkgutil
from importlib import import_module

import typer

import commands

app = typer.Typer()
for module in pkgutil.iter_modules(commands.__path__):
    name = module.name.replace("_", "-")
    app.command(name)(import_module(f"commands.{module.name}").command)

if __name__ == "__main__":
    app()
