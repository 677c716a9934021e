"""Where the rows of an index are read from, one kind of store a file."""
