"""One chat of several processes, and of several hosts, measured beside one process."""
