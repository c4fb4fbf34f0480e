"""The one way in: check, find, queue, load, run, record. Workers and their life."""
