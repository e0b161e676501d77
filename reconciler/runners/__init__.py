"""One module per kind of runner; the module's name is the kind."""
