"""SQS servers that this project did not write, as child processes of the integration tests. `README.md` says how to use them.

Nothing here but `queues.py` needs a package that is not Python's own: the servers can be installed before the project is.
"""
