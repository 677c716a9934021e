"""Data sets that other libraries fetch, written into the cache in a form that the layouts read without them."""
