"""The model of Kinesis with a clock of the test's own: what is put, read, listed, resharded and forgotten."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

import pytest

from runtime.local.errors import Refused
from runtime.local.kinesis.call import Call
from runtime.local.kinesis.control import control_calls
from runtime.local.kinesis.operations import OPERATIONS
from runtime.local.kinesis.sequence import Sequence, parse_sequence
from runtime.local.kinesis.shards import LARGEST_PAGE
from runtime.local.kinesis.streams import HASH_KEYS, LocalStream, Streams
from runtime.local.service import BadControl
from runtime.local.state import Caller

START = 1_700_000_000.0
ME = Caller("123456789012", "eu-west-1")
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
HOUR = 3600
ZERO, ONE, TWO, THREE = (f"shardId-{number:012}" for number in range(4))
MIB = 1024 * 1024


@dataclass
class Inside:
    """The faults inside GetRecords that strike next."""

    empty: int = 0
    duplicate: int = 0

    def empty_page(self, _stream: str, _shard: str) -> bool:
        self.empty -= 1
        return self.empty >= 0

    def duplicate_page(self, _stream: str, _shard: str) -> bool:
        self.duplicate -= 1
        return self.duplicate >= 0


@dataclass
class Kinesis:
    now: float = START
    caller: Caller = ME
    inside: Inside = field(default_factory=Inside)
    streams: Streams = field(init=False)

    def __post_init__(self) -> None:
        self.streams = Streams(clock=lambda: self.now)

    def ask(self, operation: str, **request: Any) -> Any:
        call = Call(streams=self.streams, caller=self.caller, request=request, effects=self.inside)
        return OPERATIONS[operation](call)

    @property
    def stream(self) -> LocalStream:
        return self.streams.stream("s", account=ME.account, region=ME.region)

    def put(self, *texts: str, key: str = "k", **more: Any) -> list[str]:
        """Puts one by one; gives back the sequence numbers."""
        return [
            self.ask("PutRecord", StreamName="s", Data=blob(text), PartitionKey=key, **more)["SequenceNumber"] for text in texts
        ]

    def iterator(self, kind: str = "TRIM_HORIZON", shard: str = ZERO, **more: Any) -> str:
        return str(self.ask("GetShardIterator", StreamName="s", ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"])

    def read(self, iterator: str, **more: Any) -> Any:
        return self.ask("GetRecords", ShardIterator=iterator, **more)

    def texts(self, iterator: str, **more: Any) -> list[str]:
        return texts(self.read(iterator, **more))

    def read_out(self, shard: str, **more: Any) -> tuple[list[str], list[str]]:
        """Everything in a closed shard, and the ids of the children told at its end."""
        found, page = list[str](), self.read(self.iterator(shard=shard), **more)
        while "NextShardIterator" in page:
            found += texts(page)
            page = self.read(page["NextShardIterator"], **more)
        assert page["Records"] == []
        return found, [child["ShardId"] for child in page["ChildShards"]]

    def list(self, **more: Any) -> list[str]:
        return [shard["ShardId"] for shard in self.ask("ListShards", StreamName="s", **more)["Shards"]]

    def split(self, shard: str = ZERO, at: int = HASH_KEYS // 2) -> None:
        self.ask("SplitShard", StreamName="s", ShardToSplit=shard, NewStartingHashKey=str(at))


def blob(text: str) -> str:
    return b64encode(text.encode()).decode()


def texts(page: Any) -> list[str]:
    words = {blob(word): word for word in map(str, range(1000))}
    return [words[record["Data"]] for record in page["Records"]]


def started(shards: int = 1, **more: Any) -> Kinesis:
    kinesis = Kinesis()
    kinesis.ask("CreateStream", StreamName="s", ShardCount=shards, **more)
    return kinesis


def refused(call: Callable[..., Any], *arguments: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as raised:
        call(*arguments, **request)
    assert raised.value.status == 400
    return raised.value.shape, raised.value.message


# Records


def test_a_record_comes_back_as_it_was_put() -> None:
    kinesis = started()
    kinesis.now = START + 0.987
    (sequence,) = kinesis.put("1", key="Zürich")
    (record,) = kinesis.read(kinesis.iterator())["Records"]
    assert record == {
        "SequenceNumber": sequence,
        "ApproximateArrivalTimestamp": START + 0.987,
        "Data": blob("1"),
        "PartitionKey": "Zürich",
    }  # KIN-20, KIN-21: no EncryptionType


def test_sequence_numbers_grow_and_say_their_shard() -> None:
    """KIN-22: 56 digits, as AWS's are."""
    kinesis = started(2)
    numbers = kinesis.put(*map(str, range(300)))
    assert sorted(numbers, key=int) == numbers
    assert {len(number) for number in numbers} == {56}
    where = kinesis.ask("PutRecord", StreamName="s", Data="", PartitionKey="k")["ShardId"]
    assert {parse_sequence(number).shard for number in numbers} == {int(where[-1])}


def test_arrivals_never_go_back_when_the_clock_does() -> None:
    kinesis = started()
    kinesis.now += 10
    kinesis.put("1")
    kinesis.now -= 5
    kinesis.put("2")
    assert [record.arrived for record in kinesis.stream.shards[ZERO].records] == [int(START + 10) * 1000] * 2


@pytest.mark.parametrize(
    "text",
    ["49590338271490256608559692538361571095921575989136588898", "49546986683135544286507457936321625675700192471156785154"],
)
def test_sequence_numbers_seen_on_aws_are_understood(text: str) -> None:
    parsed = parse_sequence(text)
    assert str(parsed.number) == text
    assert 1_400_000_000 < parsed.made < parsed.second < 1_600_000_000


@pytest.mark.parametrize("text", ["0", "5", "4" * 56, "9" * 56, "1" * 129])
def test_other_numbers_are_no_sequence_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_sequence(text)


def test_a_partition_key_falls_where_its_digest_does() -> None:
    kinesis = started(4)
    for key in ("a", "b", "c", "Zürich", "🦆"):
        answer = kinesis.ask("PutRecord", StreamName="s", Data="", PartitionKey=key)
        number = int(md5(key.encode(), usedforsecurity=False).hexdigest(), 16) * 4 // HASH_KEYS
        assert answer["ShardId"] == f"shardId-{number:012}"


def test_an_explicit_hash_key_overrides_the_partition_key() -> None:
    kinesis = started(2)
    half = HASH_KEYS // 2
    entries = [{"Data": "", "PartitionKey": "k", "ExplicitHashKey": str(at)} for at in (0, half - 1, half, HASH_KEYS - 1)]
    answer = kinesis.ask("PutRecords", StreamName="s", Records=entries)
    assert [entry["ShardId"] for entry in answer["Records"]] == [ZERO, ZERO, ONE, ONE]
    assert answer["FailedRecordCount"] == 0


@pytest.mark.parametrize(
    ("given", "shape", "names"),
    [
        ({"Data": "a"}, "SerializationException", "Data"),
        ({"Data": "YQ=\n="}, "SerializationException", "Data"),
        ({"Data": 5}, "SerializationException", "Data"),
        ({"Data": None}, "ValidationException", "'data'"),
        ({"PartitionKey": ""}, "ValidationException", "'partitionKey'"),
        ({"PartitionKey": "x" * 257}, "ValidationException", "'partitionKey'"),
        ({"PartitionKey": None}, "ValidationException", "null at 'partitionKey'"),
        ({"ExplicitHashKey": str(HASH_KEYS)}, "InvalidArgumentException", "ExplicitHashKey"),
        ({"ExplicitHashKey": "01"}, "ValidationException", "'explicitHashKey'"),
        ({"ExplicitHashKey": 7}, "SerializationException", "ExplicitHashKey"),
        ({"Data": b64encode(b"x" * MIB).decode()}, "ValidationException", "less than or equal to 1048576"),
    ],
)
def test_a_bad_record_is_refused(given: dict[str, Any], shape: str, names: str) -> None:
    """KIN-13: a record of 1 MiB with its key is the largest."""
    kinesis = started()
    request = {"StreamName": "s", "Data": blob("1"), "PartitionKey": "k", **given}
    found, message = refused(kinesis.ask, "PutRecord", **request)
    assert (found, names in message) == (shape, True)
    entry = {key: value for key, value in request.items() if key != "StreamName"}
    assert refused(kinesis.ask, "PutRecords", StreamName="s", Records=[{"Data": "", "PartitionKey": "k"}, entry])[0] == shape
    assert kinesis.texts(kinesis.iterator()) == []


def test_a_stream_for_large_records_takes_them() -> None:
    kinesis = started(MaxRecordSizeInKiB=10_240)
    data = b64encode(b"x" * (10 * MIB - 1)).decode()
    kinesis.ask("PutRecord", StreamName="s", Data=data, PartitionKey="k")
    assert len(kinesis.read(kinesis.iterator())["Records"]) == 1


def test_a_batch_has_at_most_500_records_and_10_mebibytes() -> None:
    kinesis = started()
    small = {"Data": "", "PartitionKey": "k"}
    assert refused(kinesis.ask, "PutRecords", StreamName="s", Records=[])[0] == "ValidationException"
    assert refused(kinesis.ask, "PutRecords", StreamName="s", Records=[small] * 501)[0] == "ValidationException"
    assert refused(kinesis.ask, "PutRecords", StreamName="s", Records="x")[0] == "SerializationException"
    large = {"Data": b64encode(b"x" * (MIB - 1)).decode(), "PartitionKey": "k"}
    assert refused(kinesis.ask, "PutRecords", StreamName="s", Records=[large] * 11)[0] == "InvalidArgumentException"
    kinesis.ask("PutRecords", StreamName="s", Records=[large] * 10)
    assert len(kinesis.stream.shards[ZERO].records) == 10


# Iterators


def test_each_kind_of_iterator_begins_at_its_place() -> None:
    """KIN-15."""
    kinesis = started()
    _zero, one, two, *_rest = kinesis.put("0", "1", "2", "3")
    latest = kinesis.iterator("LATEST")
    kinesis.put("4")
    assert kinesis.texts(kinesis.iterator()) == ["0", "1", "2", "3", "4"]
    assert kinesis.texts(kinesis.iterator("AT_SEQUENCE_NUMBER", StartingSequenceNumber=one)) == ["1", "2", "3", "4"]
    assert kinesis.texts(kinesis.iterator("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=two)) == ["3", "4"]
    assert kinesis.texts(latest) == ["4"]


def test_a_timestamp_begins_at_that_moment_or_at_the_next_record() -> None:
    """KIN-15: with a fraction, older than everything, and newer than everything."""
    kinesis = started()
    for text, moment in (("1", 10.25), ("2", 10.251), ("3", 20)):
        kinesis.now = START + moment
        kinesis.put(text)
    kinesis.now = START + 30
    for moment, expected in ((0, ["1", "2", "3"]), (10.25, ["1", "2", "3"]), (10.251, ["2", "3"]), (10.2519, ["2", "3"])):
        assert kinesis.texts(kinesis.iterator("AT_TIMESTAMP", Timestamp=START + moment)) == expected
    newest = kinesis.iterator("AT_TIMESTAMP", Timestamp=START + 25)
    kinesis.put("4")
    assert kinesis.texts(newest) == ["4"]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (
            {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": START + 0.001},
            "cannot be greater than the currentTimestampInMillis",
        ),
        ({"ShardIteratorType": "AT_TIMESTAMP"}, "has no timestamp parameter"),
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}, "and no StartingSequenceNumber"),
        ({"ShardIteratorType": "LATEST", "StartingSequenceNumber": "1"}, "and also a StartingSequenceNumber"),
        ({"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "1"}, "is invalid."),
        (
            {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": str(Sequence(made=int(START), shard=1, count=1).number),
            },
            "It encodes shardId-000000000001",
        ),
        (
            {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": str(Sequence(made=int(START) - 1, shard=0, count=1).number),
            },
            "did not come from this stream",
        ),
    ],
)
def test_an_iterator_that_leads_nowhere_is_refused(request_: dict[str, Any], names: str) -> None:
    kinesis = started(2)
    shape, message = refused(kinesis.ask, "GetShardIterator", StreamName="s", ShardId=ZERO, **request_)
    assert (shape, names in message) == ("InvalidArgumentException", True)


def test_iterators_of_what_does_not_exist() -> None:
    kinesis = started()
    assert refused(kinesis.iterator, shard=ONE) == (
        "ResourceNotFoundException",
        f"Shard {ONE} in stream s under account {ME.account} does not exist",
    )
    assert refused(kinesis.iterator, "NEWEST")[0] == "ValidationException"
    assert refused(kinesis.ask, "GetShardIterator", StreamName="no", ShardId=ZERO, ShardIteratorType="LATEST") == (
        "ResourceNotFoundException",
        f"Stream no under account {ME.account} not found.",
    )


def test_an_iterator_expires_after_five_minutes() -> None:
    """KIN-14; each next iterator lives anew."""
    kinesis = started()
    first = kinesis.iterator()
    kinesis.now += 300
    following = kinesis.read(first)["NextShardIterator"]
    kinesis.now += 0.001
    shape, message = refused(kinesis.read, first)
    assert shape == "ExpiredIteratorException"
    assert message == (
        "Iterator expired. The iterator was created at time Tue Nov 14 22:13:20 UTC 2023 while right now it is "
        "Tue Nov 14 22:18:20 UTC 2023 which is further in the future than the tolerated delay of 300000 milliseconds."
    )
    assert kinesis.texts(following) == []


def test_a_garbled_iterator_is_an_invalid_argument() -> None:
    kinesis = started()
    good = kinesis.iterator()
    swapped = good[:-6] + ("A" if good[-6] != "A" else "B") + good[-5:]
    for bad in ("garbage", "é", "AAAA", good[:-4], good + "!", swapped, blob("{}")):
        assert refused(kinesis.read, bad) == ("InvalidArgumentException", "Invalid ShardIterator.")
    assert refused(kinesis.ask, "GetRecords")[0] == "ValidationException"


def test_iterators_of_a_deleted_stream_lead_nowhere_even_if_its_name_is_used_again() -> None:
    kinesis = started()
    iterator = kinesis.iterator()
    kinesis.ask("DeleteStream", StreamName="s")
    assert refused(kinesis.read, iterator)[0] == "ResourceNotFoundException"
    kinesis.ask("CreateStream", StreamName="s", ShardCount=1)
    assert refused(kinesis.read, iterator)[0] == "ResourceNotFoundException"
    assert kinesis.texts(kinesis.iterator()) == []


# Reading


def _deleted(kinesis: Kinesis) -> None:
    kinesis.ask("DeleteStream", StreamName="s")


def _reset(kinesis: Kinesis) -> None:
    kinesis.streams.reset()


@pytest.mark.parametrize("end", [_deleted, _reset])
def test_sequence_numbers_of_a_stream_are_foreign_to_the_next_of_its_name(end: Callable[[Kinesis], None]) -> None:
    """Also when it is made in the second that the numbers of the last shard before it bear."""
    kinesis = started()
    kinesis.split()  # the children's numbers bear the next second
    kinesis.now += 1
    (old,) = kinesis.put("1", ExplicitHashKey="0")
    end(kinesis)
    kinesis.ask("CreateStream", StreamName="s", ShardCount=2)
    shape, message = refused(kinesis.iterator, "AFTER_SEQUENCE_NUMBER", ONE, StartingSequenceNumber=old)
    assert (shape, "did not come from this stream" in message) == ("InvalidArgumentException", True)


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    kinesis = started()
    kinesis.put(*map(str, range(25)))
    found, iterator = list[str](), kinesis.iterator()
    for expected in (10, 10, 5, 0):
        page = kinesis.read(iterator, Limit=10)
        assert len(page["Records"]) == expected
        found, iterator = found + texts(page), page["NextShardIterator"]
    kinesis.put("25")
    assert found + kinesis.texts(iterator) == [str(number) for number in range(26)]


@pytest.mark.parametrize("limit", [0, 10_001])
def test_a_limit_beyond_the_bounds_is_refused(limit: int) -> None:
    """KIN-12."""
    kinesis = started()
    assert refused(kinesis.read, kinesis.iterator(), Limit=limit)[0] == "ValidationException"
    assert refused(kinesis.read, kinesis.iterator(), Limit="1")[0] == "SerializationException"
    assert kinesis.texts(kinesis.iterator(), Limit=10_000) == []


def test_a_page_holds_at_most_10_mebibytes() -> None:
    """KIN-12; a record that is larger alone with its key still comes."""
    kinesis = started(MaxRecordSizeInKiB=10_240)
    for size in (MIB // 2, MIB // 2, 9 * MIB, 10 * MIB - 1):
        kinesis.ask("PutRecord", StreamName="s", Data=b64encode(b"x" * size).decode(), PartitionKey="k")
    first = kinesis.read(kinesis.iterator())
    assert len(first["Records"]) == 2
    second = kinesis.read(first["NextShardIterator"])
    assert len(second["Records"]) == 1
    assert len(kinesis.read(second["NextShardIterator"])["Records"]) == 1
    assert LARGEST_PAGE == 10 * MIB


def test_how_far_a_read_is_behind() -> None:
    """KIN-17: nothing once the tip is reached; never nothing while records wait."""
    kinesis = started()
    kinesis.put("1", "2")
    kinesis.now += 5
    kinesis.put("3")
    assert kinesis.read(kinesis.iterator(), Limit=1)["MillisBehindLatest"] == 5000
    kinesis.now += 1
    assert kinesis.read(kinesis.iterator(), Limit=2)["MillisBehindLatest"] == 6000
    assert kinesis.read(kinesis.iterator())["MillisBehindLatest"] == 0
    assert kinesis.read(kinesis.iterator("LATEST"))["MillisBehindLatest"] == 0
    kinesis.put("4", "5")
    latest_but_one = kinesis.put("6", "7")[0]
    at = kinesis.iterator("AT_SEQUENCE_NUMBER", StartingSequenceNumber=latest_but_one)
    assert kinesis.read(at, Limit=1)["MillisBehindLatest"] == 1


def test_reads_are_limited_for_each_shard_if_that_is_asked_for() -> None:
    """KIN-12: five a second; after a page of the largest size none for five seconds."""
    kinesis = started(2, MaxRecordSizeInKiB=10_240)
    kinesis.streams.reads_per_second = 5
    for _ in range(5):
        kinesis.read(kinesis.iterator())
    assert refused(kinesis.read, kinesis.iterator()) == (
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {ZERO} in stream s under account {ME.account}.",
    )
    kinesis.read(kinesis.iterator(shard=ONE))
    kinesis.now += 1
    for _ in range(2):
        large = b64encode(b"x" * 6 * MIB).decode()
        kinesis.ask("PutRecord", StreamName="s", Data=large, PartitionKey="k", ExplicitHashKey="0")
    kinesis.read(kinesis.iterator())
    kinesis.now += 4.999
    assert refused(kinesis.read, kinesis.iterator())[0] == "ProvisionedThroughputExceededException"
    kinesis.now += 0.001
    kinesis.read(kinesis.iterator())


def test_an_empty_page_keeps_its_place() -> None:
    """KIN-16: empty is not the end."""
    kinesis = started()
    kinesis.put("1")
    kinesis.now += 2
    kinesis.inside.empty = 1
    page = kinesis.read(kinesis.iterator())
    assert (page["Records"], page["MillisBehindLatest"]) == ([], 2000)
    assert kinesis.texts(page["NextShardIterator"]) == ["1"]


def test_a_page_that_comes_twice() -> None:
    kinesis = started()
    kinesis.put("1", "2", "3")
    kinesis.inside.duplicate = 1
    first = kinesis.read(kinesis.iterator(), Limit=2)
    second = kinesis.read(first["NextShardIterator"], Limit=2)
    assert first["Records"] == second["Records"]
    assert kinesis.texts(second["NextShardIterator"]) == ["3"]


# Resharding


def test_a_split_ends_the_parent_and_keeps_its_records() -> None:
    """KIN-40: the parent is read to its end, which names the children."""
    kinesis = started()
    before = kinesis.put("0", "1", "2")
    open_reader = kinesis.iterator("LATEST")
    kinesis.split()
    after = kinesis.put("3", "4")
    assert kinesis.list() == [ZERO, ONE, TWO]
    assert kinesis.read_out(ZERO, Limit=2) == (["0", "1", "2"], [ONE, TWO])
    assert "NextShardIterator" not in kinesis.read(open_reader)
    assert sorted(kinesis.texts(kinesis.iterator(shard=ONE)) + kinesis.texts(kinesis.iterator(shard=TWO))) == ["3", "4"]
    assert max(map(int, before)) < min(map(int, after))


def test_shards_show_their_family_and_their_ranges() -> None:
    kinesis = started()
    kinesis.split(at=1000)
    kinesis.ask("MergeShards", StreamName="s", ShardToMerge=TWO, AdjacentShardToMerge=ONE)
    parent, left, right, merged = kinesis.ask("ListShards", StreamARN=ARN)["Shards"]
    assert "ParentShardId" not in parent
    assert left["ParentShardId"] == right["ParentShardId"] == ZERO
    assert left["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": "999"}
    assert right["HashKeyRange"] == {"StartingHashKey": "1000", "EndingHashKey": str(HASH_KEYS - 1)}
    assert (merged["ParentShardId"], merged["AdjacentParentShardId"]) == (TWO, ONE)
    assert merged["HashKeyRange"] == parent["HashKeyRange"]
    assert "EndingSequenceNumber" not in merged["SequenceNumberRange"]
    for closed in (parent, left, right):
        ends = closed["SequenceNumberRange"]
        assert int(ends["StartingSequenceNumber"]) < int(ends["EndingSequenceNumber"])
    ending = int(parent["SequenceNumberRange"]["EndingSequenceNumber"])
    assert ending < int(left["SequenceNumberRange"]["StartingSequenceNumber"])


def test_the_end_of_a_merged_shard_names_the_child_with_both_parents() -> None:
    kinesis = started(2)
    kinesis.put("1", ExplicitHashKey="0")
    kinesis.put("2", ExplicitHashKey=str(HASH_KEYS - 1))
    kinesis.ask("MergeShards", StreamName="s", ShardToMerge=ZERO, AdjacentShardToMerge=ONE)
    assert kinesis.read_out(ZERO) == (["1"], [TWO])
    assert kinesis.read_out(ONE) == (["2"], [TWO])
    (child,) = kinesis.read(kinesis.iterator("LATEST"))["ChildShards"]
    assert child == {
        "ShardId": TWO,
        "ParentShards": [ZERO, ONE],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(HASH_KEYS - 1)},
    }


@pytest.mark.parametrize(("shards", "target"), [(1, 2), (2, 4), (2, 3), (3, 2), (4, 2), (5, 3), (3, 6), (2, 2), (7, 10)])
def test_scaling_ends_in_even_shards_by_splits_and_merges(shards: int, target: int) -> None:
    kinesis = started(shards)
    answer = kinesis.ask("UpdateShardCount", StreamName="s", TargetShardCount=target, ScalingType="UNIFORM_SCALING")
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (shards, target)
    even = started(target).stream.open_shards
    assert [shard.keys for shard in kinesis.stream.open_shards] == [shard.keys for shard in even]
    for shard in kinesis.stream.shards.values():
        parents = [kinesis.stream.shards[parent] for parent in shard.parents]
        assert all(parent.closed is not None and parent.made < shard.made for parent in parents)
        assert (len(parents) < 2) or sum(parent.keys.end - parent.keys.start + 1 for parent in parents) == (
            shard.keys.end - shard.keys.start + 1
        )


@pytest.mark.parametrize(("shards", "target"), [(2, 5), (5, 2)])
def test_scaling_beyond_double_or_below_half_is_refused(shards: int, target: int) -> None:
    kinesis = started(shards)
    request = {"StreamName": "s", "TargetShardCount": target}
    assert refused(kinesis.ask, "UpdateShardCount", **request, ScalingType="UNIFORM_SCALING")[0] == "InvalidArgumentException"
    assert refused(kinesis.ask, "UpdateShardCount", **request, ScalingType="WILD")[0] == "ValidationException"
    assert len(kinesis.list()) == shards


def test_shards_that_cannot_be_split_or_merged() -> None:
    kinesis = started(3)
    third = HASH_KEYS // 3
    for at in (0, 1, third - 1, third, HASH_KEYS - 1):
        assert refused(kinesis.split, at=at)[0] == "InvalidArgumentException"
    merge = {"StreamName": "s", "ShardToMerge": ZERO}
    assert refused(kinesis.ask, "MergeShards", **merge, AdjacentShardToMerge=TWO)[0] == "InvalidArgumentException"
    assert refused(kinesis.ask, "MergeShards", **merge, AdjacentShardToMerge=THREE)[0] == "ResourceNotFoundException"
    kinesis.split(at=1000)
    shape, message = refused(kinesis.split, at=1000)
    assert (shape, "already been merged or split" in message) == ("InvalidArgumentException", True)
    assert refused(kinesis.ask, "MergeShards", **merge, AdjacentShardToMerge=ONE)[0] == "InvalidArgumentException"


# Lists


def test_a_list_comes_in_pages_whose_token_stands_alone() -> None:
    """NextToken beside what it stands for is refused, as on AWS."""
    kinesis = started(5)
    first = kinesis.ask("ListShards", StreamName="s", MaxResults=2)
    token = first["NextToken"]
    second = kinesis.ask("ListShards", NextToken=token, MaxResults=2)
    third = kinesis.ask("ListShards", NextToken=second["NextToken"])
    pages = [[shard["ShardId"][-1] for shard in page["Shards"]] for page in (first, second, third)]
    assert pages == [["0", "1"], ["2", "3"], ["4"]]
    assert "NextToken" not in third
    for name, value in (("StreamName", "s"), ("StreamARN", ARN), ("ExclusiveStartShardId", ZERO), ("ShardFilter", {})):
        assert refused(kinesis.ask, "ListShards", NextToken=token, **{name: value}) == (
            "InvalidArgumentException",
            f"NextToken and {name} cannot be provided together.",
        )
    assert refused(kinesis.ask, "ListShards", NextToken="garbage")[0] == "InvalidArgumentException"
    assert refused(kinesis.ask, "ListShards", NextToken=kinesis.iterator())[0] == "InvalidArgumentException"
    assert refused(kinesis.ask, "ListShards")[1] == "Either NextToken or StreamName should be provided."
    kinesis.now += 300.001
    assert refused(kinesis.ask, "ListShards", NextToken=token)[0] == "ExpiredNextTokenException"


def test_a_page_of_a_list_has_at_most_1000_shards() -> None:
    kinesis = started(1001)
    assert len(kinesis.list(MaxResults=10_000)) == 1000
    assert refused(kinesis.list, MaxResults=10_001)[0] == "ValidationException"


def test_filters_of_shards() -> None:
    kinesis = started()
    kinesis.now += 10
    kinesis.split()
    kinesis.now += 10
    kinesis.split(ONE, at=1000)

    def filtered(kind: str, **more: Any) -> list[int]:
        return [int(shard[-1]) for shard in kinesis.list(ShardFilter={"Type": kind, **more})]

    assert filtered("AT_LATEST") == [2, 3, 4]
    assert filtered("AT_TRIM_HORIZON") == [0]
    assert filtered("FROM_TRIM_HORIZON") == [0, 1, 2, 3, 4]
    assert filtered("AFTER_SHARD_ID", ShardId=ONE) == [2, 3, 4]
    assert filtered("AT_TIMESTAMP", Timestamp=START + 15) == [1, 2]
    assert filtered("FROM_TIMESTAMP", Timestamp=START + 15) == [1, 2, 3, 4]
    assert [int(shard[-1]) for shard in kinesis.list(ExclusiveStartShardId=TWO)] == [3, 4]
    chosen = {"Type": "AT_TIMESTAMP", "Timestamp": START + 15}
    paged = kinesis.ask("ListShards", StreamName="s", ShardFilter=chosen, MaxResults=1)
    rest = kinesis.ask("ListShards", NextToken=paged["NextToken"])["Shards"]
    assert [shard["ShardId"] for shard in rest] == [TWO]
    kinesis.now += 24 * HOUR - 5
    assert filtered("AT_TRIM_HORIZON") == [1, 2]
    for bad in ({"Type": "WILD"}, {"Type": "AFTER_SHARD_ID"}, {"Type": "AT_TIMESTAMP"}, {}, "AT_LATEST"):
        assert refused(kinesis.list, ShardFilter=bad)[0].endswith("Exception")


# Age


def test_records_are_forgotten_when_they_are_older_than_the_retention() -> None:
    """KIN-17: 24 hours. A place before the trim horizon goes on at the trim horizon (KIN-43)."""
    kinesis = started()
    (old,) = kinesis.put("1")
    kinesis.now += HOUR
    kinesis.put("2")
    kinesis.now = START + 24 * HOUR
    assert kinesis.texts(kinesis.iterator()) == ["1", "2"]
    reader = kinesis.iterator()
    kinesis.now += 0.001
    assert kinesis.texts(reader) == ["2"]
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        assert kinesis.texts(kinesis.iterator(kind, StartingSequenceNumber=old)) == ["2"]
    assert kinesis.texts(kinesis.iterator("AT_TIMESTAMP", Timestamp=START)) == ["2"]
    kinesis.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=26)
    kinesis.now += 2 * HOUR - 1
    assert kinesis.texts(kinesis.iterator()) == ["2"]
    kinesis.ask("DecreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=24)
    assert kinesis.texts(kinesis.iterator()) == []


@pytest.mark.parametrize(
    ("operation", "hours", "names"),
    [
        ("IncreaseStreamRetentionPeriod", 47, "can not be shorter than existing"),
        ("DecreaseStreamRetentionPeriod", 49, "can not be longer than existing"),
        ("DecreaseStreamRetentionPeriod", 23, "Minimum allowed"),
        ("IncreaseStreamRetentionPeriod", 8761, "Maximum allowed"),
    ],
)
def test_a_retention_that_is_refused(operation: str, hours: int, names: str) -> None:
    kinesis = started()
    kinesis.ask("IncreaseStreamRetentionPeriod", StreamName="s", RetentionPeriodHours=48)
    shape, message = refused(kinesis.ask, operation, StreamName="s", RetentionPeriodHours=hours)
    assert (shape, names in message) == ("InvalidArgumentException", True)
    assert kinesis.stream.retention == 48


def test_a_closed_shard_disappears_when_it_can_hold_nothing_younger() -> None:
    kinesis = started()
    kinesis.put("1")
    kinesis.now += HOUR
    kinesis.split()
    reader = kinesis.iterator()
    kinesis.now = START + 25 * HOUR
    assert kinesis.list() == [ZERO, ONE, TWO]
    assert kinesis.read_out(ZERO) == ([], [ONE, TWO])
    kinesis.now += 0.001
    assert kinesis.list() == [ONE, TWO]
    assert refused(kinesis.iterator)[0] == "ResourceNotFoundException"
    assert refused(kinesis.read, reader)[0] == "ExpiredIteratorException"


# Streams


def test_streams_are_made_described_listed_and_deleted() -> None:
    kinesis = started(3)
    assert refused(kinesis.ask, "CreateStream", StreamName="s", ShardCount=1) == (
        "ResourceInUseException",
        f"Stream s under account {ME.account} already exists.",
    )
    described = kinesis.ask("DescribeStream", StreamARN=ARN, Limit=2)["StreamDescription"]
    assert [shard["ShardId"] for shard in described["Shards"]] == [ZERO, ONE]
    assert (described["HasMoreShards"], described["StreamStatus"], described["RetentionPeriodHours"]) == (True, "ACTIVE", 24)
    rest = kinesis.ask("DescribeStream", StreamName="s", ExclusiveStartShardId=ONE)["StreamDescription"]
    assert ([shard["ShardId"] for shard in rest["Shards"]], rest["HasMoreShards"]) == ([TWO], False)
    kinesis.split(at=1000)
    summary = kinesis.ask("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]
    assert (summary["OpenShardCount"], summary["StreamARN"], summary["StreamCreationTimestamp"]) == (4, ARN, int(START))
    kinesis.ask("CreateStream", StreamName="a", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    first = kinesis.ask("ListStreams", Limit=1)
    assert (first["StreamNames"], first["HasMoreStreams"]) == (["a"], True)
    second = kinesis.ask("ListStreams", NextToken=first["NextToken"])
    assert (second["StreamNames"], second["HasMoreStreams"], "NextToken" in second) == (["s"], False, False)
    kinesis.ask("DeleteStream", StreamName="s")
    assert refused(kinesis.ask, "DescribeStreamSummary", StreamName="s")[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("request_", "shape"),
    [
        ({"StreamName": "a b", "ShardCount": 1}, "ValidationException"),
        ({"StreamName": "a", "ShardCount": 0}, "ValidationException"),
        ({"StreamName": "a"}, "InvalidArgumentException"),
        ({"ShardCount": 1}, "ValidationException"),
        ({"StreamName": "a", "StreamModeDetails": {"StreamMode": "WILD"}}, "ValidationException"),
        ({"StreamName": "a", "ShardCount": 1, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}, "InvalidArgumentException"),
    ],
)
def test_streams_that_cannot_be_made(request_: dict[str, Any], shape: str) -> None:
    assert refused(Kinesis().ask, "CreateStream", **request_)[0] == shape


def test_accounts_and_regions_have_streams_of_their_own() -> None:
    kinesis = started()
    kinesis.caller = Caller(ME.account, "us-east-1")
    assert kinesis.ask("ListStreams")["StreamNames"] == []
    assert refused(kinesis.ask, "DescribeStream", StreamARN=ARN)[0] == "InvalidArgumentException"
    kinesis.caller = Caller("999999999999", "eu-west-1")
    assert refused(kinesis.ask, "DescribeStream", StreamName="s")[0] == "ResourceNotFoundException"
    assert kinesis.ask("DescribeStream", StreamARN=ARN)["StreamDescription"]["StreamARN"] == ARN  # by its ARN from any account
    assert refused(kinesis.ask, "DescribeStream", StreamARN="arn:aws:sqs:::x")[0] == "ValidationException"


def test_with_a_delay_streams_are_made_and_changed_slowly() -> None:
    kinesis = Kinesis()
    kinesis.streams.delay = 2
    kinesis.ask("CreateStream", StreamName="s", ShardCount=1)

    def status() -> Any:
        return kinesis.ask("DescribeStreamSummary", StreamName="s")["StreamDescriptionSummary"]["StreamStatus"]

    assert status() == "CREATING"
    assert refused(kinesis.put, "1")[0] == "ResourceNotFoundException"
    assert refused(kinesis.list)[0] == "ResourceInUseException"
    assert refused(kinesis.split)[0] == "ResourceInUseException"
    kinesis.now += 2
    assert status() == "ACTIVE"
    kinesis.split()
    assert status() == "UPDATING"
    kinesis.put("1")
    merge = {"StreamName": "s", "ShardToMerge": ONE, "AdjacentShardToMerge": TWO}
    assert refused(kinesis.ask, "MergeShards", **merge)[0] == "ResourceInUseException"
    assert refused(kinesis.split, ONE, at=1000) == (
        "ResourceInUseException",
        f"Stream s under account {ME.account} not ACTIVE, instead in state UPDATING",
    )
    kinesis.now += 2
    kinesis.split(ONE, at=1000)


# Control


def test_trimming_on_request_forgets_the_oldest_of_each_shard() -> None:
    kinesis = started(2)
    trim = control_calls(kinesis.streams)["trim"]
    for shard, at in ((0, "0"), (1, str(HASH_KEYS - 1))):
        kinesis.put(*(str(10 * shard + number) for number in range(3)), ExplicitHashKey=at)
        kinesis.now += 10
    assert trim({"stream": "s", "records": 2}) == {"trimmed": {ZERO: 2, ONE: 2}}
    assert kinesis.texts(kinesis.iterator()) == ["2"]
    assert kinesis.texts(kinesis.iterator(shard=ONE)) == ["12"]
    assert trim({"stream": "s", "before": START + 10}) == {"trimmed": {ZERO: 1, ONE: 0}}
    assert trim({"stream": "s", "records": 9, "shard": ONE}) == {"trimmed": {ONE: 1}}
    assert kinesis.list() == [ZERO, ONE]


def test_a_lost_position_never_moves_on_if_that_is_asked_for() -> None:
    """KIN-43: empty pages, a whole retention behind, until somebody begins at TRIM_HORIZON."""
    kinesis = started()
    first, second, _third = kinesis.put("1", "2", "3")
    reader = kinesis.read(kinesis.iterator(), Limit=1)["NextShardIterator"]
    kinesis.streams.stuck_positions = True
    assert kinesis.texts(reader) == ["2", "3"]
    control_calls(kinesis.streams)["trim"]({"stream": "s", "records": 2})
    after_first = kinesis.iterator("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=first)
    for lost in (reader, after_first, kinesis.iterator("AT_SEQUENCE_NUMBER", StartingSequenceNumber=second)):
        for _ in range(2):
            page = kinesis.read(lost)
            assert (page["Records"], page["MillisBehindLatest"]) == ([], 24 * HOUR * 1000)
            lost = page["NextShardIterator"]  # noqa: PLW2901 - as a reader goes on
    assert kinesis.texts(kinesis.iterator("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=second)) == ["3"]
    assert kinesis.texts(kinesis.iterator()) == ["3"]


def test_all_iterators_expire_on_request_and_new_ones_work() -> None:
    kinesis = started()
    kinesis.put("1")
    old = kinesis.iterator()
    control_calls(kinesis.streams)["expire"]({"stream": "s"})
    assert refused(kinesis.read, old)[0] == "ExpiredIteratorException"
    assert kinesis.texts(kinesis.iterator()) == ["1"]


def test_settings_change_on_request() -> None:
    kinesis = started()
    settings = control_calls(kinesis.streams)["settings"]
    pushed = {"subscription": 300.0, "subscribeEvery": 5.0, "keepAlive": 5.0}
    assert settings({"readsPerSecond": 5}) == {"readsPerSecond": 5.0, "delay": 0.0, "stuckPositions": False, **pushed}
    assert settings({"delay": 1.5}) == {"readsPerSecond": 5.0, "delay": 1.5, "stuckPositions": False, **pushed}
    changed = {"readsPerSecond": None, "stuckPositions": True, "subscription": 1, "subscribeEvery": 0, "keepAlive": 0.5}
    assert settings(changed) == {**changed, "delay": 1.5}
    kinesis.streams.reset()
    assert settings({}) == {"readsPerSecond": None, "delay": 0.0, "stuckPositions": False, **pushed}
    assert kinesis.streams.every() == []


@pytest.mark.parametrize(
    ("call", "given", "names"),
    [
        ("trim", {"stream": "no", "records": 1}, "there is no stream 'no'"),
        ("trim", {"stream": "s"}, "either records"),
        ("trim", {"stream": "s", "records": 1, "before": 2}, "either records"),
        ("trim", {"stream": "s", "records": -1}, "records -1"),
        ("trim", {"stream": "s", "before": "now"}, "before 'now'"),
        ("trim", {"stream": "s", "records": 1, "shard": "x"}, "there is no shard 'x'"),
        ("trim", {"stream": "s", "records": 1, "colour": "red"}, "unknown field 'colour'"),
        ("expire", {}, "there is no stream None"),
        ("settings", {"readsPerSecond": "5"}, "readsPerSecond '5'"),
        ("settings", {"delay": None}, "delay None"),
        ("settings", {"stuckPositions": 1}, "stuckPositions 1"),
    ],
)
def test_a_control_call_that_makes_no_sense_says_what_is_wrong(call: str, given: dict[str, Any], names: str) -> None:
    kinesis = started()
    with pytest.raises(BadControl) as bad:
        control_calls(kinesis.streams)[call](given)
    assert names in str(bad.value)
