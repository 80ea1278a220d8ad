"""Models: networks that sparse equations can replace."""
