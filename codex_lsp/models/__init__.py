"""Which models there are, where they lie, and which one suits this machine."""
