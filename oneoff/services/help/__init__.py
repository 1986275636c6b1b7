"""Write the help pages, the command reference and the completions, as text."""
