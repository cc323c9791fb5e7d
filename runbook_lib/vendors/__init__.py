"""The clients of both vendors, on one shared HTTP seam."""
