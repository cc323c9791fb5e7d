"""What is kept of a run: the journal of its writes and the result of each section."""
