"""Says kill: sign, spool, sinks."""
