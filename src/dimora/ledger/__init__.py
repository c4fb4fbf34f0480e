"""What was used: requests, tokens, seconds, memory; told as Prometheus metrics."""
