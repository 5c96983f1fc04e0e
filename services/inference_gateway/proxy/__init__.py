"""The gateway's data plane: worker processes without a database, on a local snapshot of routes and keys.

`pool.py` keeps the workers running and is what the control plane talks to; `worker.py` is a worker's main.
A request's way: `server` (wire) → `app` (route table) → `exchange` (one completion) → `routing` → `upstream` → back.
"""
