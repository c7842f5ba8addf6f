"""What is asked: the data, which cells are kept apart, which pairs are known, how values are prepared."""
