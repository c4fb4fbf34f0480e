"""Bytes at rest: blobs by digest, and logs that only grow."""
