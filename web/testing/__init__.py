"""For the tests of whoever puts the chat into an application: the application served, and clients of it.

The fixtures of pytest are in `web.testing.fixtures`, which alone needs pytest.
"""

from web.testing.caller import Answer, Caller, Frame, Refused
from web.testing.chatter import Chatter
from web.testing.site import Site, serve

__all__ = ["Answer", "Caller", "Chatter", "Frame", "Refused", "Site", "serve"]
