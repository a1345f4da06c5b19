"""Learning from what an endpoint served, and deploying what is better; see docs/cycle.md."""
