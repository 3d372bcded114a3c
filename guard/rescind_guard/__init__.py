"""The check in front of a tool: badge, view, freshness, decision; nothing here waits."""
