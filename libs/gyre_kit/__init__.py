"""What every Gyre service is made of. Nothing in here knows what a dataset or a run is."""

import os

# We start programs and never go on in a fork. gRPC's handlers around fork() can hang the child before it becomes the
# program (a PostgreSQL started as another user was seen to), so they are left out; gRPC reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
