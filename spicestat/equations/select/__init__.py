"""Which terms stay: criteria, moves and search over structures."""
