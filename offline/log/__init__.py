"""The log: what was shown, how likely that was, and what came back; see docs/log.md."""

from offline.log.catalogue import write_catalogue
from offline.log.pseudonyms import Pseudonyms
from offline.log.read import Fault, Log, open_log
from offline.log.rows import Rows, concatenate
from offline.log.schema import COLUMNS, LEARNING, SCHEMA_VERSION, Header, LogError
from offline.log.sessions import starts
from offline.log.write import LogWriter

__all__ = [
    "COLUMNS",
    "LEARNING",
    "SCHEMA_VERSION",
    "Fault",
    "Header",
    "Log",
    "LogError",
    "LogWriter",
    "Pseudonyms",
    "Rows",
    "concatenate",
    "open_log",
    "starts",
    "write_catalogue",
]
