"""What all tests may ask for."""

pytest_plugins = ["chat.testing.fixtures", "tests.postgres"]
