"""Everything about ARQ: the only package that knows its functions, its keys and its pickles."""
