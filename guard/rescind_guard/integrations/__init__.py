"""One module for each place where a guard can stand."""
