"""Who gets what, as pure code: no session, no clock, no settings. `cycle.run` reads like the scheduler itself.

The words are Kueue's. `gyre simulate` replays traces through the very same functions that the service calls.
"""
