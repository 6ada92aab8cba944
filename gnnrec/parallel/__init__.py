"""A training shared by several processes: settings.py says how many and by whom they are started."""
