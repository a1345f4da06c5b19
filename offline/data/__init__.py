"""Other people's tables as logs; see docs/own_data.md."""
