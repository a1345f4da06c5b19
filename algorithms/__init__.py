"""RL algorithms for slates, on Ray RLlib."""
