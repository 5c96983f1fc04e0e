"""Adapters that a deployment serves on its base."""
