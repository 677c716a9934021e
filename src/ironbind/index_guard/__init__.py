"""The guard of an index: which stored rows answer more queries than natural ones do. numpy only; stores with engines of
their own are read through them, as extras.
"""
