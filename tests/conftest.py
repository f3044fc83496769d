"""What all tests may ask for."""

import signal

pytest_plugins = ["chat.testing.fixtures", "web.testing.fixtures", "tests.postgres"]

# A shell's job in the background ignores Ctrl-C, and so would the programs that tests start, and send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
