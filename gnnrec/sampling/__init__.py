"""Graphs that are looked at in pieces: rows on disk, sampled neighbours, counted visits, hops made once."""
