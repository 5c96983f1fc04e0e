"""The gateway's data plane: worker processes without a database, on a local snapshot of routes and keys.

`processes.py` keeps the workers running and is what the control plane talks to; `worker.py` is a worker's main.
A request's way: `server`, `connection` (the wire) → `gateway` (paths, keys) → `exchange` (one completion) →
`routing`, `pool`, `upstream` → `attempt`, `answering` → `reply`. What is kept: `records` → spool → `shipper`.
"""

import os as _os
import sys as _sys

if _compiled := _os.environ.get("GYRE_PROXY_COMPILED"):  # a worker: see `compiling.py`
    __path__.insert(0, f"{_compiled}/services/inference_gateway/proxy")
    _sys.path.append(_compiled)
