"""Content put into words: pictures and sound described, items and users summed up, usable as one more text."""
