"""Learning and judging from logs."""
