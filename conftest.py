"""Fixtures that every test may ask for."""

from gyre_kit.testing import clock, platform

__all__ = ["clock", "platform"]
