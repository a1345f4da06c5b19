"""What `python -m algorithms.report` shows of runs: reading, playing, pictures, a page."""
