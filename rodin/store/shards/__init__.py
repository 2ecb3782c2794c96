"""HDF5 shards: many subjects a file, one writer a file, every row with its checksum."""
