"""Reading: what was read at one time, and side by side."""
