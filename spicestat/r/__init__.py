"""The Python side of the R package: tables and results cross as plain Python objects."""
