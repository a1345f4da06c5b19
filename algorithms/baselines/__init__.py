"""Policies that need no training."""

from algorithms.baselines.agents import ClickMaximiser, RandomAgent

AGENTS = (RandomAgent, ClickMaximiser)
