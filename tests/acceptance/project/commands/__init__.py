"""Commands that misbehave on purpose."""
