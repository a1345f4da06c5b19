"""Several algorithms, seeds and environments side by side; see `algorithms.compare`."""
