"""A reply counts once, and only to a message of ours, whatever a grid hands out."""

from types import SimpleNamespace

import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from fedkd.types import Tally
from fedkd.wire import address, letters, pack_tally
from simulations.host_grid import HostGrid
from simulations.identity import become_server, stamp
from strategies.ledger import Ledger
from strategies.post import Post
from strategies.roster import Roster


class Forgetful(HostGrid):
    """A grid that hands out all there is, also what it gave before and what nobody asked for."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(node_ids=lambda: [1]), 1)  # type: ignore[arg-type]
        self.there: list[Message] = []

    def push_messages(self, messages) -> list[str]:
        return [stamp(message) for message in messages]

    def pull_messages(self, message_ids) -> list[Message]:
        return list(self.there)


@pytest.fixture
def grid() -> Forgetful:
    become_server(1)
    return Forgetful()


@pytest.fixture
def post() -> Post:
    return Post(Roster({"v01": 1}, {1}), Ledger(), "0123456789abcdef")


def sent(post: Post, grid: Forgetful, round: int) -> Message:
    """A round's message, on its way."""
    [message] = post.send(grid, "train", round, {"v01": {}}, {"round": round})
    grid.push_messages([message])
    return message


def answer(message: Message) -> Message:
    said = {"tally": pack_tally(Tally(1)), "clock": MetricRecord({"seconds": 1.0})}
    return Message(address({"v01": said}), reply_to=message)


def size(reply: Message) -> int:
    return sum(record.count_bytes() for letter in letters(reply.content).values() for record in letter.values())


def booked(post: Post, *rounds: int) -> list[int]:
    """Bytes that came up in these rounds."""
    return [post.ledger.of(round, "v01")[0] for round in rounds]


def test_a_reply_that_comes_twice_at_once_is_one_letter_and_its_bytes_count_once(post: Post, grid: Forgetful) -> None:
    reply = answer(sent(post, grid, 1))
    exchange = post.sort([reply, reply])
    assert exchange.letters == {"v01": letters(reply.content)["v01"]} and not exchange.failures
    assert booked(post, 1) == [size(reply)]


def test_a_reply_whose_arrays_are_no_file_is_its_hosts_failure(post: Post, grid: Forgetful) -> None:
    message = sent(post, grid, 1)
    torn = Array("uint8", (3,), "safetensors", b"abc")
    exchange = post.sort([Message(RecordDict({"v01/soft": ArrayRecord({"safetensors": torn})}), reply_to=message)])
    assert not exchange.letters and "expected a safetensors file" in exchange.failures["v01"]
    assert booked(post, 1) == [0]


def test_a_reply_that_was_taken_counts_nothing_when_it_comes_again(post: Post, grid: Forgetful) -> None:
    reply = answer(sent(post, grid, 1))
    post.sort([reply])
    assert post.sort([reply]).letters.keys() == {"v01"}
    sent(post, grid, 2)
    grid.there = [reply]
    sent(post, grid, 3)
    assert post.sort([reply]).letters == {} and post.late(grid) == {} and post.late_failures() == {}
    assert booked(post, 1, 2, 3) == [size(reply), 0, 0]


def test_a_late_answer_is_given_once_and_its_bytes_count_once(post: Post, grid: Forgetful) -> None:
    late = answer(sent(post, grid, 1))
    sent(post, grid, 2)
    grid.there = [late, late]
    assert [round for round, _ in post.late(grid)["v01"]] == [1]
    sent(post, grid, 3)
    assert post.late(grid) == {} and post.sort([late]).letters == {}
    assert booked(post, 1, 2, 3) == [0, size(late), 0]


def test_a_reply_to_a_message_of_somebody_else_counts_nothing(post: Post, grid: Forgetful) -> None:
    others = Message(address({"v01": {}}), 1, "train")
    stamp(others)
    stranger = answer(others)
    sent(post, grid, 1)
    assert post.sort([stranger]).letters == {} and post.exchange.lost == {"v01"}
    sent(post, grid, 2)
    grid.there = [stranger]
    assert post.late(grid) == {} and post.late_failures() == {}
    assert booked(post, 1, 2) == [0, 0]


def test_a_reply_counts_nothing_for_a_message_that_was_never_sent(post: Post, grid: Forgetful) -> None:
    """Such a message has no id, nor is this reply to any."""
    [unsent] = post.send(grid, "train", 1, {"v01": {}}, {"round": 1})
    assert not unsent.metadata.message_id
    assert post.sort([answer(unsent)]).letters == {} and booked(post, 1) == [0]
