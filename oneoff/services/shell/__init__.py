"""The Python shell: one prompt or script, in the event loop and the transaction of its run."""
