"""Reading a dispatch: `Result`, its statuses and values, files of a result."""
