"""Simulated users as clients of an endpoint."""
