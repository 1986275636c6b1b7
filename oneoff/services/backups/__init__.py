"""Back up databases, and restore them."""
