"""Makes a log of what an endpoint answered and of what came back for it."""
