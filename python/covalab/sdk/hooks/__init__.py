"""Work around a task: shell commands, packages, calls, modules (`DepsBash` and its kin), as the decorators take it."""
