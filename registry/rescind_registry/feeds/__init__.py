"""The one log, carried further: each feed is one module that gives its routes to `app.build`."""
