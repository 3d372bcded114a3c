"""The registry: badges and their keys, the HTTP API, feeds that carry the one log further."""
