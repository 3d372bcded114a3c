"""The command line: parse, call, present. See `rescind --help`."""
