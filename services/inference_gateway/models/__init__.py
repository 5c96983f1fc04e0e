"""Tables of the schema `inference_gateway`, a module for each subject. Whoever imports this knows all of them."""

from services.inference_gateway.models import (
    batches,
    comparing,
    deployments,
    policies,
    projects,
    rollouts,
    traces,
    usage,
)
from services.inference_gateway.models.base import TABLES

__all__ = ["TABLES", "batches", "comparing", "deployments", "policies", "projects", "rollouts", "traces", "usage"]
