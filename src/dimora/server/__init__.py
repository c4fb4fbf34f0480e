"""HTTP: routes of the dialects on an ASGI application, who is at the door, life cycle."""
