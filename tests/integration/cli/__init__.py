"""The command line end to end: real processes, the real nats-server."""
