"""The replicas of a target: launched, looked after, scaled, put to sleep and woken."""
