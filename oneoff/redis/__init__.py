"""The Redis adapter: clients, their guard, and their errors."""
