"""The things that the guide sets up, as they are found and written at the vendors."""
