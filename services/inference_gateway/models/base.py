"""What every table of the schema `inference_gateway` is made of."""

from __future__ import annotations

from gyre_kit.db import tables
from sqlmodel import SQLModel

TABLES = tables("inference_gateway")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata
