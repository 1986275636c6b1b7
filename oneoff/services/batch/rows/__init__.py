"""Select the rows of a batch: keys, cursors, ranges and estimates."""
