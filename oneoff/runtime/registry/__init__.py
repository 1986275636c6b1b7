"""Find command files, index them, and load one command by its name."""
