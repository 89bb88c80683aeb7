"""Renewals are made in a shorter way than other changes, and say the same."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pollers.record import LATEST, SHARD_END, TRIM_HORIZON, Position
from runtime.leases import Lease
from runtime.stores.dynamodb import changes
from runtime.stores.dynamodb.values import BadRow

NAMES = st.text(min_size=1, max_size=8)
LEASES = st.builds(
    Lease,
    scope=st.just("orders arn"),
    shard=NAMES,
    parents=st.sampled_from([(), ("shard-1",), ("shard-1", "shard-2")]),
    checkpoint=st.sampled_from([TRIM_HORIZON, LATEST, SHARD_END, Position.after("17"), Position.at(3.5)]),
    window=st.none() | NAMES,
    owner=st.none() | NAMES,
    wanted_by=st.none() | NAMES,
    counter=st.integers(min_value=0, max_value=2**70),
    throughput=st.none() | st.floats(min_value=0, max_value=1e5),
)


@given(lease=LEASES, token=NAMES)
@example(lease=Lease(scope="s", shard="1", checkpoint=LATEST, owner="me", wanted_by="you", counter=7), token="t")
@example(lease=Lease(scope="s", shard="1", checkpoint=LATEST, wanted_by="you", counter=7), token="t")
def test_a_renewal_is_what_the_owners_condition_says_to_the_byte(lease: Lease, token: str) -> None:
    made = msgspec.json.encode(changes.renew(lease, token).expressions())
    assert made == msgspec.json.encode(changes.held(lease, token).expressions())


@given(leases=st.lists(LEASES, min_size=2, max_size=4))
def test_renewals_do_not_mix(leases: list[Lease]) -> None:
    """They share what does not differ."""
    renewals = [changes.renew(lease, "t") for lease in leases]
    made = [renewal.expressions() for renewal in renewals]
    assert made == [changes.held(lease, "t").expressions() for lease in leases]


def test_an_owner_and_a_token_without_a_name_are_not_written() -> None:
    for owner, token in (("", "t"), ("me", "")):
        with pytest.raises(BadRow, match="empty"):
            changes.renew(Lease(scope="s", shard="1", checkpoint=LATEST, owner=owner), token)
