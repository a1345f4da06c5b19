"""The demo: an endpoint, and pages that talk to it over HTTP."""
