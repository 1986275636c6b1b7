"""The settings of this process: where they come from, and whether they fit."""
