"""List, check, document and create commands."""
