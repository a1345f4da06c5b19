"""Judges a policy by a log of another one: binds the two, and says what can be concluded."""
