"""The engine: llama.cpp in a process of its own, behind plain data."""
