"""The benchmark: our application beside its peers, each on one core.  `python -m bench --help` says how."""
