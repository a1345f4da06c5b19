"""Thin adapters between the columnar core and RLlib's new API stack."""
