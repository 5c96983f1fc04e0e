"""The embedded single-machine runtime behind `gyre up`: PostgreSQL, a Kafka-protocol broker and the eight services.

No Docker and no root needed. `control` is what the command line calls; `main` is the supervisor's own process.
"""
