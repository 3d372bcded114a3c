"""The chaos suite against real servers."""
