"""Reading: what is read at one time, and reads that go out side by side."""
