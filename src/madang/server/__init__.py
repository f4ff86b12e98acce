"""One machine, no set-up: the private PostgreSQL, the worker and the web server that `madang up` starts."""
