"""The service: a run answers over HTTP. `server.run_server` starts it; needs the extra serve."""
