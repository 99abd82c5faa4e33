"""Rules without I/O: what a request is, how it can end, and what people may type."""
