"""Git as far as we let it: commands that nobody else's settings reach, and what can be read from its own files."""
