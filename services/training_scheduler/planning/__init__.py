"""The planner: what a run will hold, take and cost on each kind of node, and with which settings it fits.

Pure functions of the job and a snapshot of the nodes. docs/explanation/planning.md says how good they are.
"""
