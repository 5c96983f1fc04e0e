"""How a deployment's split changes: in steps, watched, and back."""
