"""What botocore and aiohttp raise, and what it means to a destination: one table.

Whatever is not listed is taken as a passing fault: trying again is cheap, and giving up loses a failure record.
"""

from typing import Final

import aiohttp
from botocore import exceptions as boto

from handlers.destinations.failure import DestinationError

DENIED: Final = frozenset({
    "AccessDenied", "AccessDeniedException", "AWS.SimpleQueueService.AccessDenied", "AuthorizationError",
    "AuthorizationErrorException", "UnauthorizedOperation", "NotAuthorized", "NotAuthorizedForSourceException",
    "NotAuthorizedForDetailTypeException", "AllAccessDisabled", "KmsAccessDenied", "KMSAccessDenied",
    "KMS.AccessDeniedException", "KMSAccessDeniedException", "403",
})  # fmt: skip
"""Codes for what the worker may not do. HeadBucket has no body, so its codes are the numbers of HTTP."""
_MISSING: Final = frozenset({
    "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "AWS.SimpleQueueService.QueueDeletedRecently",
    "InvalidAddress", "NotFound", "NotFoundException", "NoSuchBucket", "ResourceNotFoundException", "404",
})  # fmt: skip
_CREDENTIALS: Final = frozenset({
    "AuthFailure", "OptInRequired", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidToken",
    "UnrecognizedClientException", "InvalidAccessKeyId", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "InvalidSecurity",
})  # fmt: skip
_KMS: Final = frozenset({
    "KmsDisabled", "KMSDisabled", "KMS.DisabledException", "KMSDisabledException", "KmsNotFound", "KMSNotFound",
    "KMS.NotFoundException", "KMSNotFoundException", "KmsInvalidState", "KMSInvalidState", "KMS.KMSInvalidStateException",
    "KMSInvalidStateException", "KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException", "KmsOptInRequired", "KMSOptInRequired",
})  # fmt: skip
_REFUSED: Final = frozenset({
    "MissingParameter", "InvalidParameter", "InvalidParameterException", "InvalidParameterValue",
    "InvalidParameterValueException", "ParameterValueInvalid", "ValidationException", "InvalidMessageContents",
    "InvalidRequest", "InvalidRequestContentException", "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation",
    "EndpointDisabled", "InvalidArgument", "InvalidAccountIdException", "MalformedDetail", "RequestTooLargeException",
    "EntityTooLarge", "RecursiveInvocationException", "InvalidBucketName", "MethodNotAllowed", "PermanentRedirect", "301",
    "400", "405",
})  # fmt: skip

NOT_FIFO: Final = "FIFO queues and topics cannot be destinations; name a standard one in DestinationConfig"
NO_CLIENT: Final = "no_client"
"""Our word for a client that could not be made: a broken profile, a bad endpoint URL."""
_CREDENTIALS_ADVICE: Final = "give the worker valid AWS credentials"
_ADVICE: Final[dict[frozenset[str], str]] = {
    DENIED: "allow the worker {permission} on it, and the use of its KMS key if it has one",
    _MISSING: "create it, or name another in DestinationConfig",
    _CREDENTIALS: _CREDENTIALS_ADVICE,
    frozenset({"no_credentials"}): _CREDENTIALS_ADVICE,
    _KMS: "see to its KMS key",
    frozenset({NO_CLIENT}): "see to the worker's AWS settings",
}
_LASTING: Final = DENIED | _MISSING | _CREDENTIALS | _KMS | _REFUSED
"""Without `no_credentials` and `no_client`: who hands out credentials may be out of reach for a moment."""

_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_NO_ANSWER: Final = (boto.HTTPClientError, boto.ConnectionError, aiohttp.ClientError, TimeoutError, OSError)


class NotTaken(Exception):
    """No error of the client, and still the record was not taken, or the answer does not say so."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def to_destination_error(error: Exception, *, arn: str, operation: str, permission: str) -> DestinationError:
    """The same fact as a DestinationError that names the destination and, where somebody must act, what to do."""
    code, text = _understood(error)
    advice = next((advice for codes, advice in _ADVICE.items() if code in codes), "").format(permission=permission)
    if code in _REFUSED and arn.endswith(".fifo"):
        advice = NOT_FIFO
    message = f"on-failure destination {arn}: {operation}: {text}"
    return DestinationError(f"{message.rstrip('.')}; {advice}" if advice else message, code=code, lasting=code in _LASTING)


def _understood(error: Exception) -> tuple[str, str]:
    """The code, and the whole in words."""
    match error:
        case boto.ClientError():
            code = str(error.response.get("Error", {}).get("Code", "Unknown"))
            return code, f"{code}: {error.response.get('Error', {}).get('Message', '') or error}"
        case NotTaken():
            return error.code, f"{error.code}: {error}"
        case _ if isinstance(error, _NO_CREDENTIALS):
            return "no_credentials", f"no usable AWS credentials: {error}"
        case _ if isinstance(error, _NO_ANSWER):
            return "no_answer", f"no answer: {str(error) or type(error).__name__}"
        case boto.BotoCoreError():
            return type(error).__name__, str(error)
        case _:
            # what a broken answer does inside the client: ResponseParserError, KeyError, UnicodeDecodeError...
            return "malformed_answer", f"the answer could not be understood: {type(error).__name__}: {error}"
