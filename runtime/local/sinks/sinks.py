"""All recorders of one endpoint, and the services that feed them."""

from collections.abc import Callable

from runtime.local.service import Service
from runtime.local.sinks.buckets import Buckets
from runtime.local.sinks.buses import Buses
from runtime.local.sinks.events import events_service
from runtime.local.sinks.functions import Functions
from runtime.local.sinks.lambda_ import lambda_service
from runtime.local.sinks.s3 import s3_service
from runtime.local.sinks.sns import sns_service
from runtime.local.sinks.topics import Topics


class Sinks:
    """`clock` gives seconds since the epoch."""

    def __init__(self, *, seed: int, clock: Callable[[], float]) -> None:
        self.topics = Topics(seed=seed, clock=clock)
        self.buckets = Buckets(clock=clock)
        self.buses = Buses(seed=seed, clock=clock)
        self.functions = Functions(clock=clock)

    def services(self) -> list[Service]:
        return [
            sns_service(self.topics),
            s3_service(self.buckets),
            events_service(self.buses),
            lambda_service(self.functions),
        ]
