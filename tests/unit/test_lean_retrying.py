"""What the SDK's retry handlers are shown of an answer."""

from botocore.exceptions import ClientError

from pollers.aws.lean.retrying import _Answered


def test_an_answer_with_dynamodbs_checksum_is_judged_without_it() -> None:
    """The handler of the mode legacy would compare it with the content, which is gone by then; AWS sends it with every answer."""
    metadata = {"HTTPStatusCode": 400, "HTTPHeaders": {"X-Amz-Crc32": "1", "date": "today"}}
    error = ClientError({"Error": {"Code": "X"}, "ResponseMetadata": metadata}, "UpdateItem")
    assert _Answered.by(error).headers == {"date": "today"}
