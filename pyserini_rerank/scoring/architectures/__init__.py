"""The architectures that the torch backend runs, with a module for each kind."""
