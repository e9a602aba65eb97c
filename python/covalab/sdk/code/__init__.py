"""Code of users: the name and source of a function, the modules that travel with it, how both are stored."""
