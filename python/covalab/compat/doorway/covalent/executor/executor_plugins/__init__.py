"""The executors that are built in, by Covalent's path."""
