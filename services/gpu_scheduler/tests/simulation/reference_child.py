"""A what-if's process on the reference replay: run as a module, as `simulation.child` is."""

from __future__ import annotations

from services.gpu_scheduler.simulation.child import main
from services.gpu_scheduler.tests.simulation import reference_fifo

if __name__ == "__main__":
    main(reference_fifo.replay)
