"""Readers of somebody else's bytes, fed with what grows out of good files by mutation."""
