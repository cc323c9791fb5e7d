"""What was set up by hand, as parameter files: reads both vendors, writes files, changes nothing there."""
