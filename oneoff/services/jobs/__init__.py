"""Work with ARQ. Only this package knows ARQ's functions, keys and pickles."""
