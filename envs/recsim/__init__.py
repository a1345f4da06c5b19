"""Google's RecSim on today's stack: import, adapter, and worlds of one's own users.

Importing this package does not import recsim; making a simulator does.
"""

from envs.recsim.composition import Composition, compose
from envs.recsim.luck import Streams, streams
from envs.recsim.make import composition_of, google_world_names, make_google_simulator
from envs.recsim.session import Session
from envs.recsim.simulator import GoogleSimulator

__all__ = [
    "Composition",
    "GoogleSimulator",
    "Session",
    "Streams",
    "compose",
    "composition_of",
    "google_world_names",
    "make_google_simulator",
    "streams",
]
