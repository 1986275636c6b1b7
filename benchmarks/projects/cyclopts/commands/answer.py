def command() -> None:
    """Ask the database for one number."""
    print("no database here")
