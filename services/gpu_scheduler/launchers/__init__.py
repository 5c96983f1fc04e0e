"""Who runs work, behind one interface (`base.Launcher`): this machine, a Ray cluster, a Slurm cluster."""

from __future__ import annotations

from services.gpu_scheduler.launchers.base import LOCAL, RAY, SLURM, Launcher
from services.gpu_scheduler.launchers.local import Local
from services.gpu_scheduler.launchers.ray import Ray
from services.gpu_scheduler.launchers.slurm import Slurm
from services.gpu_scheduler.settings import Settings


def of(settings: Settings) -> dict[str, Launcher]:
    """By the names in `Node.launcher`: those that are set up. They start what they need when they are first asked."""
    found: dict[str, Launcher] = {LOCAL: Local(settings.bind, settings.replica_address, limits=settings.work_limits)}
    if settings.ray_address:
        found[RAY] = Ray(settings.ray_address, settings.ray_work_folder, settings.ray_runtime_env)
    if settings.slurm_partition:
        found[SLURM] = Slurm(settings.slurm_partition)
    return found
