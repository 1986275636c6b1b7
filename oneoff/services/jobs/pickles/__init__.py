"""Read, show and rewrite the pickles that ARQ stores, without executing them."""
