"""What the command line shows: help, the reference, and completions. Pure texts."""
