import pytest

from tests.servers.behaviour import Service, flag_names
from tests.servers.catalogue import ELASTICMQ, KCL, LOCAL, LOCALSTACK, MINISTACK, MOTO, SERVERS
from tests.servers.node_servers import KINESALITE, KINESIS_MOCK
from tests.servers.selection import (
    VARIABLE,
    UnknownServer,
    check_flags,
    missing_commands,
    named_installables,
    select_servers,
    servers_with,
)


def have_all(command: str) -> str:
    return f"/usr/bin/{command}"


def have_none(_command: str) -> None:
    return None


def test_without_a_word_the_quick_ones_are_selected() -> None:
    assert select_servers(None, {}, find=have_all) == (LOCAL, MINISTACK, KINESIS_MOCK, KINESALITE)
    assert all(spec.installs_on_first_use for spec in select_servers(None, {}, find=have_all))


def test_without_a_word_and_without_node_those_that_need_it_are_left_out() -> None:
    assert select_servers(None, {}, find=have_none) == (LOCAL, MINISTACK)
    assert missing_commands(KINESALITE, find=have_none) == ("node", "npm")


def test_what_is_asked_for_is_selected_though_it_cannot_run() -> None:
    # Its tests are errors then: whoever names a server wants to see it.
    assert select_servers("kinesalite", {}, find=have_none) == (KINESALITE,)
    assert select_servers("all", {}, find=have_none) == tuple(SERVERS.values())


def test_all_are_selected_by_one_word() -> None:
    assert select_servers("all", {}) == tuple(SERVERS.values())
    assert select_servers(None, {VARIABLE: "all"}) == tuple(SERVERS.values())


def test_the_option_goes_before_the_environment() -> None:
    assert select_servers("moto, local", {VARIABLE: "all"}) == (LOCAL, MOTO)


@pytest.mark.parametrize("text", ["motto", "local,motto", "local,,moto"])
def test_an_unknown_name_is_an_error_that_names_the_known(text: str) -> None:
    known = r"there are local, ministack, kinesis-mock, kinesalite, localstack, elasticmq, moto"
    with pytest.raises(UnknownServer, match=known):
        select_servers(text, {})


def test_servers_that_do_not_speak_the_service_are_left_out() -> None:
    assert servers_with(SERVERS.values(), Service.SQS, ()) == (LOCAL, MINISTACK, LOCALSTACK, ELASTICMQ, MOTO)
    assert servers_with(SERVERS.values(), Service.KINESIS, ()) == (LOCAL, MINISTACK, KINESIS_MOCK, KINESALITE, MOTO)
    assert servers_with(SERVERS.values(), Service.DYNAMODB, ()) == (LOCAL, MINISTACK, MOTO)


def test_servers_with_a_bug_in_the_way_are_left_out() -> None:
    assert servers_with(SERVERS.values(), Service.SQS, ["fifo_ok"]) == (LOCAL, MINISTACK, LOCALSTACK, ELASTICMQ)
    assert servers_with(SERVERS.values(), Service.SQS, ["fifo_ok", "expires_fifo_handles"]) == (LOCAL, LOCALSTACK)
    assert servers_with(SERVERS.values(), Service.KINESIS, ["ends_split_shards"]) == (LOCAL, KINESIS_MOCK, KINESALITE)


def test_a_bug_of_one_service_is_not_in_the_way_of_another() -> None:
    assert MOTO in servers_with(SERVERS.values(), Service.DYNAMODB, ["fifo_ok", "ends_split_shards"])


def test_no_two_services_have_a_behaviour_of_one_name() -> None:
    names = [name for service in Service for name in flag_names(service)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("flag", ["fifo_okay", "visibility_slack_seconds", "ends_split_shards"])
def test_asking_for_a_behaviour_that_is_none_of_the_service_is_an_error(flag: str) -> None:
    with pytest.raises(ValueError, match=f"no behaviour is called {flag}"):
        check_flags([flag], [Service.SQS, Service.DYNAMODB])
    check_flags(["fifo_ok", "ttl_user_identity"], [Service.SQS, Service.DYNAMODB])


def test_programs_are_installed_like_servers() -> None:
    assert named_installables([]) == (*SERVERS.values(), KCL)
    assert named_installables(["kcl"]) == (KCL,)
    assert named_installables(["kcl", "moto"]) == (MOTO, KCL)
    with pytest.raises(UnknownServer, match="no server is called 'kinsis'"):
        named_installables(["kcl", "kinsis"])
