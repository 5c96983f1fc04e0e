"""A registry of MLflow's and Gyre's, kept alike: versions, aliases and what is known of them, in both directions.

It runs where the command runs, so that the MLflow server needs to be reachable from there alone.
"""
