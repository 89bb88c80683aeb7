"""An in-memory AWS endpoint with fault injection: for the demo, for `esm endpoint` and for tests. Imported by nothing else.

Two layers. The *models* are pure: time comes from a callable, randomness from a seeded generator, nothing awaits. That of SQS
is `queues`, `order`, `messages`, `settings`, `state`, `operations` and their parts; `kinesis`, `dynamodb` and `sinks` hold
theirs. The *server* gives them HTTP and long polling: `server`, `polls`, `faults`, `control`. Between the two stands `service`:
a service is one value in the list in `LocalEndpoint.start`.

What it must get right, and what other emulators get wrong, is judged against AWS's documentation and public recordings of AWS.
"""

from runtime.local.server import LocalEndpoint, serve_endpoint

__all__ = ["LocalEndpoint", "serve_endpoint"]
