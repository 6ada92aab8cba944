"""What a run gives away of its log, and what false profiles make of it."""
