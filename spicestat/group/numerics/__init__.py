"""Plain numerics of group models: numpy in, numpy out."""
