"""An in-memory AWS endpoint with fault injection: for the demo, for `esm endpoint` and for tests. Imported by nothing else.

Two layers. The *model* (`queues`, `order`, `messages`, `settings`, `state`, `operations`, `faults` and their parts) is pure: time
comes from a callable, randomness from a seeded generator, nothing awaits. The *server* (`polls`, `server`, `control`) gives it
HTTP and long polling. Only SQS speaks so far; the next service is a module with an `OPERATIONS` table like that of `operations`,
and one row in each of the two tables at the top of `server`.

What it must get right, and what other emulators get wrong, is judged against AWS's documentation and public recordings of AWS.
"""

from runtime.local.server import LocalEndpoint, serve_endpoint

__all__ = ["LocalEndpoint", "serve_endpoint"]
