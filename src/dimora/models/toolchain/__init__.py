"""llama.cpp built for this machine: fetched, built, tried, kept."""
