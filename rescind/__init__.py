"""An event-driven revocation fabric: kill an agent's badge everywhere, at once."""
