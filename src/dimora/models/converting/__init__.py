"""One form of a model made of another: converters, quantizers, and what the change cost."""
