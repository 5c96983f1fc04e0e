"""Queues take turns by their weighted dominant share; within a queue by priority and age, and who fits may pass."""

from __future__ import annotations

from services.gpu_scheduler.decisions.policies.fifo import Fifo


class Fair(Fifo):
    name = "fair"
    fair = True
    strict = False
