"""Where events go to: one small interface, one module for each transport."""
