"""What is asked over HTTP, one module for each resource. Nothing here decides anything."""
