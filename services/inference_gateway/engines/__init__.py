"""What speaks the model behind a target. `wire.py`: facts that the data plane needs; `table.py`: the adapters that the
control plane asks; `base.py`: their interface. Apart, so that a worker need not import an HTTP client.
"""
