"""SQS, Kinesis and DynamoDB servers that this project did not write, as child processes of the tests. `README.md` says how to use them.

Only `clients.py`, `controls.py` and what makes queues, streams and tables need packages that are not Python's own: the servers can be
installed before the project is.
"""
