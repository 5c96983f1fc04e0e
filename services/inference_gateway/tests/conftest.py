from gyre_kit.testing import session_of

session = session_of("inference_gateway")
