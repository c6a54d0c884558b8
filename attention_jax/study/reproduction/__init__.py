"""`launch.py reproduce`: what config files declare of their results, the queue, the lines and the table."""
