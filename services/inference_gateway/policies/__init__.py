"""What a project wants done to its traffic: guardrails, caches, regions, and prompts by name."""
