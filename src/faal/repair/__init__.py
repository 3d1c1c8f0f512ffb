"""Repair of a trained network that is chosen on withheld images, and leaves the network as it is where it cannot help.

`run.py` is the sequence: evaluate the base, decide whether to repair it, try settings, fine-tune, evaluate the
candidates, choose one.
"""

from faal.repair.run import Repair, repair
from faal.repair.settings import RepairSettings

__all__ = ["Repair", "RepairSettings", "repair"]
