"""The commands themselves: list, check, document and create them."""
