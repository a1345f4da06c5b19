"""Off-policy evaluation: what a policy would have earned, from a log of another one.

`Logged` holds the columns, `registry` the estimators by name, `intervals` says
how far an estimate may be off, and `diagnostics` how much the log can tell.
"""

from offline.ope.columns import Logged, Refusal
from offline.ope.contributions import Contributions, estimate
from offline.ope.estimator import Estimator, Options
from offline.ope.registry import ESTIMATORS, contributions_of, estimator

__all__ = [
    "ESTIMATORS",
    "Contributions",
    "Estimator",
    "Logged",
    "Options",
    "Refusal",
    "contributions_of",
    "estimate",
    "estimator",
]
