"""Commands of the state machine."""
