"""The code of the test project."""
