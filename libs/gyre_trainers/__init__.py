"""Trains models: one file a method, `run.py` the worker's main (`python -m gyre_trainers.run SPEC`).

The worker has no database and no Kafka login. It reads immutable rows and weights by digest, writes only below its
own attempt's prefix of the object store, and reports by RPC to `training_scheduler`, whose silence never stops it.
"""
