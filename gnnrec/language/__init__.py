"""Language models as one talks to them: on this machine or behind an address, within a budget, believed in nothing."""
