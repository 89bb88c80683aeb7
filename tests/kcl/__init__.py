"""A real worker of the Kinesis Client Library (Java), for tests beside ours. `README.md` says how to use it."""
