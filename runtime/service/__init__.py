"""The service "find this person": HTTP routes over a gallery and a model, and the page that calls them. Needs the extra `service`.

This folder is the only one that imports FastAPI, uvicorn, Starlette and the Prometheus client. `server` runs the service, `app` puts
the routes together, `scheduler` limits and queues the requests that need the model, and `gallery_service` does the work behind the
routes without knowing HTTP.
"""
