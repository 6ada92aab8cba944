"""What protects the people in a log."""
