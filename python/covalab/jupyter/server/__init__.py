"""The Jupyter server extension: routes, relay to the dispatcher, events for the browser."""
