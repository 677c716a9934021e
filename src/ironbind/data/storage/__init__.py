"""What samples lie in: files, boxes of pictures, HDF5 arrays, parquet tables, tar archives."""
