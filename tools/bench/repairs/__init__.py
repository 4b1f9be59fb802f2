"""The repairs of moto, a module for each service. Each has `repair()`, called before the service's first request."""

import functools


def replaces(owner, name):
    """Puts the decorated function in the place of a method, which it gets as its first argument."""

    def put(function):
        method = getattr(owner, name)

        @functools.wraps(method)
        def replaced(*args, **kwargs):
            return function(method, *args, **kwargs)

        setattr(owner, name, replaced)
        return function

    return put
