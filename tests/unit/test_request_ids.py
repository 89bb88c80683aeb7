"""Request ids are UUIDs of version 4, and no two are alike."""

import uuid

from runtime.request_ids import new_request_id


def test_request_ids_are_random_uuids() -> None:
    names = [new_request_id() for _ in range(2000)]
    assert len(set(names)) == 2000
    for name in names:
        made = uuid.UUID(name)
        assert (str(made), made.version, made.variant) == (name, 4, uuid.RFC_4122)
    assert {name[19] for name in names} == set("89ab")
