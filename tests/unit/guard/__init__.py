"""The guard: badges, view, freshness, cache, decision."""
