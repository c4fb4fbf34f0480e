"""The way out: which places may be reached, and how registries, hubs and indexes are spoken to."""
