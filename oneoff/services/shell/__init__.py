"""The Python shell: a prompt or a script in the event loop and the transaction of its run."""
