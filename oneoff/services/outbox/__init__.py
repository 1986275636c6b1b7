"""Store effects in the transaction of the work, and deliver them later."""
