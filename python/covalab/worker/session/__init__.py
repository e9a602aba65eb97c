"""Session of a dispatch: its bare cells run one after the other in one process and share everything in it."""
