import pytest

from tests.servers.catalogue import ELASTICMQ, LOCAL, LOCALSTACK, MINISTACK, MOTO, SERVERS
from tests.servers.selection import VARIABLE, UnknownServer, select_servers, servers_with


def test_without_a_word_the_quick_ones_are_selected() -> None:
    assert select_servers(None, {}) == (LOCAL, MINISTACK)
    assert all(spec.installs_on_first_use for spec in select_servers(None, {}))


def test_all_are_selected_by_one_word() -> None:
    assert select_servers("all", {}) == tuple(SERVERS.values())
    assert select_servers(None, {VARIABLE: "all"}) == tuple(SERVERS.values())


def test_the_option_goes_before_the_environment() -> None:
    assert select_servers("moto, local", {VARIABLE: "all"}) == (LOCAL, MOTO)


@pytest.mark.parametrize("text", ["motto", "local,motto", "local,,moto"])
def test_an_unknown_name_is_an_error_that_names_the_known(text: str) -> None:
    with pytest.raises(UnknownServer, match=r"there are local, ministack, localstack, elasticmq, moto"):
        select_servers(text, {})


def test_servers_with_a_bug_in_the_way_are_left_out() -> None:
    assert servers_with(SERVERS.values(), ()) == tuple(SERVERS.values())
    assert servers_with(SERVERS.values(), ["fifo_ok"]) == (LOCAL, MINISTACK, LOCALSTACK, ELASTICMQ)
    assert servers_with(SERVERS.values(), ["fifo_ok", "expires_fifo_handles"]) == (LOCAL, LOCALSTACK)


@pytest.mark.parametrize("flag", ["fifo_okay", "visibility_slack_seconds"])
def test_asking_for_a_behaviour_that_is_none_is_an_error(flag: str) -> None:
    with pytest.raises(ValueError, match=f"no behaviour is called {flag}"):
        servers_with(SERVERS.values(), [flag])
