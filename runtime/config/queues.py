"""Rules between the keys of a mapping of an SQS queue (`spec/sqs.md` section 1)."""

from typing import Final

from msgspec import UNSET

from runtime.config.arns import SourceArn
from runtime.config.candidate import Candidate

_FIFO_BATCH: Final = 10
_UNWINDOWED_BATCH: Final = 10


def check_batch(candidate: Candidate, queue: SourceArn, size: int) -> None:
    """SQS-02..SQS-05."""
    block, window = candidate.block, candidate.block.value.maximum_batching_window_in_seconds
    if queue.fifo and window > 0:
        candidate.wrong(
            "MaximumBatchingWindowInSeconds",
            f"MaximumBatchingWindowInSeconds is {window}, but the queue is FIFO: remove it "
            "(AWS: Batching window is not supported for FIFO queues)",
        )
    if queue.fifo and size > _FIFO_BATCH:
        candidate.wrong("BatchSize", f"BatchSize is {size}, but the queue is FIFO, so it must be 1 to {_FIFO_BATCH}")
    elif size > _UNWINDOWED_BATCH and window == 0 and block.sound("MaximumBatchingWindowInSeconds"):
        candidate.wrong(
            "BatchSize",
            f"BatchSize is {size}, so MaximumBatchingWindowInSeconds must be at least 1 "
            "(AWS: Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10)",
        )


def check_scaling(candidate: Candidate) -> None:
    """SQS-12, SQS-13."""
    block = candidate.block
    pollers = block.value.provisioned_poller_config
    provisioned = any(key.startswith("ProvisionedPollerConfig.") for key in block.lines)
    if provisioned and block.value.scaling_config.maximum_concurrency is not UNSET:
        candidate.wrong(
            "ScalingConfig.MaximumConcurrency",
            "MaximumConcurrency and ProvisionedPollerConfig exclude each other: remove one of them",
        )
    fewest = 2 if pollers.minimum_pollers is UNSET else pollers.minimum_pollers
    most = 200 if pollers.maximum_pollers is UNSET else pollers.maximum_pollers
    if most < fewest:
        candidate.wrong(
            "ProvisionedPollerConfig.MaximumPollers",
            f"MaximumPollers is {most}, but it must be at least MinimumPollers, which is {fewest}",
        )
    if provisioned:
        candidate.wrong(
            "ProvisionedPollerConfig",
            "ProvisionedPollerConfig is not supported yet: remove it and bound the mapping with ScalingConfig.MaximumConcurrency",
        )
