"""Experiment configurations, one YAML file each."""
