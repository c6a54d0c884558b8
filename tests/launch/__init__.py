"""The command line as a user meets it: processes, exit codes, what they print and what they leave."""
