"""Follows the logs and keeps a guard's view: sources, reconcile, local snapshot."""
