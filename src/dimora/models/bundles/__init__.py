"""Models in one signed file, for machines that no network connects."""
