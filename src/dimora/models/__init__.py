"""From names to files: names, manifests, store, sources, and the reader of model files."""
