"""The routes of the service, and the schemas of their documents."""
