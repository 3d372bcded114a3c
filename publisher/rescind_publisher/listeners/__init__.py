"""Transports that bring the reports of subscribers."""
