"""Where events come from: one small interface, one module for each transport."""
