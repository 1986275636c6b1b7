"""Review runs that were started with `--break-glass`, and other sensitive runs."""
