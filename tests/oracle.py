"""docs/arithmetic.md once more: slow, in unbounded integers, written from that page alone.

oracle_parts.py has the pieces, oracle_base.py a trial, oracle_perturbation.py, oracle_search.py, oracle_spiking.py and
oracle_chance.py the rules; task_models.py the on-board tasks. The kernels are not imported here and were not looked at:
agreement with these files is their proof. `Oracle.of` behaves like subsong_sim.learner.Learner.
"""

from oracle_base import ORACLES, Oracle
from oracle_chance import HedonisticSynapse, Reinforce, StochasticSpiking
from oracle_perturbation import ActivityDifference, Hebb, NodePerturbation, WeightPerturbation
from oracle_search import KeepIfBetter, RunAndTumble
from oracle_spiking import ConductancePerturbation, Songbird

__all__ = [
    "ORACLES",
    "ActivityDifference",
    "ConductancePerturbation",
    "Hebb",
    "HedonisticSynapse",
    "KeepIfBetter",
    "NodePerturbation",
    "Oracle",
    "Reinforce",
    "RunAndTumble",
    "Songbird",
    "StochasticSpiking",
    "WeightPerturbation",
]
