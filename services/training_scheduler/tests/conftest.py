from gyre_kit.testing import session_of

session = session_of("training_scheduler")
