"""Policies that know what users hide, to see how far others are from it."""

from algorithms.references.interest_evolution import FullInformation

AGENTS = (FullInformation,)
"""Agents without weights that need worlds with full information."""
