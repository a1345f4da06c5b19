"""Measures what the README claims: `python -m benchmarks.run`.

A benchmark is a function that returns plain numbers, and rows that say what
they must reach. Adding one is adding a module with `BENCHMARKS`.
"""
