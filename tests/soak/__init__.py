"""Hours in minutes: thousands of clients that come, talk, go and die at random, and a journal that misses nothing."""
