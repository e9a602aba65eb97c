"""HTTP on a private Unix socket: one module of handlers for each subject, and the table of routes (`application`).

Handlers parse, call the service, and encode; they decide nothing.
"""
