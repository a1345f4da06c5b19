"""What `algorithms.tune` is made of."""
