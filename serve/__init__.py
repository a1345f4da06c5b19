"""Answers HTTP with a policy, explores as it states, and logs what it did."""
