"""Commands that do one deed, which must be done once even if a scheduler repeats them."""
