"""What botocore and aiohttp raise, and what it means to a poller: one table.

Whatever is not listed is taken as a passing fault: backing off and asking again is safe, giving up is not.
"""

from typing import Final

import aiohttp
from botocore import exceptions as boto

from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable

THROTTLED: Final = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
    "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "BandwidthLimitExceeded",
    "KmsThrottled", "KMS.ThrottlingException",
    "ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException",
})  # fmt: skip
"""Codes of throttling: those of botocore's own retry table, SQS's, and those of streams.

LimitExceededException is DynamoDB Streams' word for it (DDB-12), and Kinesis' of its listings: both mean calls per second.
"""

REJECTED: Final = frozenset({
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "AWS.SimpleQueueService.QueueDeletedRecently",
    "AccessDenied", "AccessDeniedException", "AuthFailure", "UnauthorizedOperation", "NotAuthorized", "OptInRequired",
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "SignatureDoesNotMatch", "InvalidSignatureException",
    "IncompleteSignature", "InvalidSecurity", "InvalidAddress", "UnsupportedOperation",
    "AWS.SimpleQueueService.UnsupportedOperation", "KmsAccessDenied", "KMS.AccessDeniedException", "KmsDisabled",
    "KMS.DisabledException", "KmsNotFound", "KMS.NotFoundException",
    "ResourceNotFoundException", "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException",
    "KMSNotFoundException", "KMSOptInRequired",
})  # fmt: skip
"""Codes that stay until somebody changes something."""

TRIMMED: Final = frozenset({"TrimmedDataAccessException"})
"""Codes for a position whose records are gone (DDB-12)."""

_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_NO_ANSWER: Final = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, TimeoutError, OSError)


def to_source_error(error: Exception, *, doing: str) -> SourceError:
    """The same fact in the words of `pollers.errors`. `doing` says what failed: `ReceiveMessage on orders`."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, boto.ClientError):
        return _from_code(error, doing)
    if isinstance(error, _NO_CREDENTIALS):
        return SourceRejected(f"{doing}: no usable AWS credentials: {error}", code="no_credentials")
    if isinstance(error, _NO_ANSWER):
        return SourceUnavailable(f"{doing}: no answer: {str(error) or type(error).__name__}", code="no_answer")
    if isinstance(error, boto.BotoCoreError):
        return SourceRejected(f"{doing}: {error}", code=type(error).__name__)
    # what a broken answer does inside the client: ResponseParserError, KeyError, UnicodeDecodeError...
    text = f"{doing}: the answer could not be understood: {type(error).__name__}: {error}"
    return SourceUnavailable(text, code="malformed_answer")


def _from_code(error: boto.ClientError, doing: str) -> SourceError:
    """The JSON protocol of SQS has the old code in a header, which botocore prefers."""
    code = str(error.response.get("Error", {}).get("Code", "Unknown"))
    message = str(error.response.get("Error", {}).get("Message", "")) or str(error)
    kind = PositionTrimmed if code in TRIMMED else SourceRejected if code in REJECTED else SourceUnavailable
    return kind(f"{doing}: {code}: {message}", code=code)
