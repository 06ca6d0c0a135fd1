"""Threads and processes that come and go while AMX is emulated."""

import pytest
import trapping
from preloading import SANITIZED

from amx._lib import lib

pytestmark = pytest.mark.skipif(bool(lib.amx_is_stub()), reason="this build has no machine layer")


@pytest.fixture(params=[False, True], ids=["trapped", "patched"])
def patched(request):
    return request.param


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory for a while")
def test_threads_are_created_compute_and_end(patched):
    """50 at a time, ten times: every product is right, 16 instructions each, and memory stays bounded."""
    found = dict(trapping.scenario("threads", patched))
    assert int(found["instructions"]) == 50 * 10 * (1 + 3 * 5)


@pytest.mark.parametrize("name", ["forks", "forks-by-system-call"])
def test_forked_children_have_the_configuration_and_no_data(name, patched):
    """200 of them, each with counts of its own; the parent's data survives and its memory does not grow."""
    assert trapping.scenario(name, patched) == [("children", "200")]


def test_a_child_has_handlers_of_its_own(patched):
    assert trapping.scenario("handlers-of-a-child", patched) == []


def test_forks_amid_computing_threads(patched):
    assert trapping.scenario("forks-amid-threads", patched) == [("children", "60")]


def test_another_threads_alternate_stack_is_in_the_way_of_a_request():
    """ENOSPC until it ends; its process's children do not have it."""
    assert trapping.scenario("requests-and-other-threads") == [("request", "-28"), ("request", "0")]


@pytest.mark.parametrize("name", ["vfork-and-exec", "tiles-in-vforked-child"])
def test_vfork_leaves_the_parents_threads_alone(name, patched):
    """Though the child runs in their memory, with thread-local storage of one of them."""
    assert trapping.scenario(name, patched) == []


def test_a_thread_can_be_given_its_creators_configuration(patched):
    """As Linux copies it, without the data."""
    assert trapping.scenario("inherited-configuration", patched) == []
