"""A Kubernetes cluster for tests: real servers, played nodes. `../main.py` starts it."""
