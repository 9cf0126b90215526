"""A host that is slower than a round's time: it is always late, but not ever later, and it sits the last exam."""

from itertools import count
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, MetricRecord

from fedkd.types import Tally
from fedkd.wire import address, pack_tally
from simulations.host_grid import HostGrid
from simulations.identity import become_server, stamp
from strategies.ledger import EXAM, Ledger
from strategies.post import Post
from strategies.quorum import linger
from strategies.roster import Roster

TIMEOUT, SLOW, QUICK = 10.0, 1, 2


class Clock:
    """The time of these tests, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TwoHosts(HostGrid):
    """A quick host, and one that takes a message after the other, `seconds` for each round and `exam` for each exam."""

    def __init__(self, clock: Clock, seconds: float, put_back: bool = False, exam: float = 1) -> None:
        super().__init__(SimpleNamespace(node_ids=lambda: [SLOW, QUICK]), 1)  # type: ignore[arg-type]
        self.clock, self.seconds, self.exam = clock, seconds, exam
        self.queue: list[tuple[float, Message]] = []  # (when it is answered, message)
        self.free = 0.0
        self.dead = False
        self.made = count(2e9, -60.0) if put_back else None  # the time of day, by the server's clock

    def push_messages(self, messages) -> list[str]:
        ids = []
        for message in messages:
            ids.append(stamp(message))
            if self.made:
                message.metadata.__dict__["_created_at"] = next(self.made)
            done = self.clock.now + 1
            if message.metadata.dst_node_id == SLOW:
                work = self.seconds if message.metadata.message_type == "train" else self.exam
                self.free = done = max(self.free, self.clock.now) + work
            if not (self.dead and message.metadata.dst_node_id == SLOW):
                self.queue.append((done, message))
        return ids

    def pull_messages(self, message_ids) -> list[Message]:
        ids = set(message_ids)
        ready = [(done, m) for done, m in self.queue if done <= self.clock.now and m.metadata.message_id in ids]
        self.queue = [one for one in self.queue if one not in ready]
        return [answer(message) for _, message in ready]

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        waiting, replies, end = set(self.push_messages(messages)), [], self.clock.now + timeout
        while waiting and self.clock.now < end:
            self.clock.sleep(0.5)
            came = self.pull_messages(waiting)
            waiting -= {reply.metadata.reply_to_message_id for reply in came}
            replies += came
        return replies

    def waiting(self) -> int:
        """Messages that the slow host has before it."""
        return sum(m.metadata.dst_node_id == SLOW for _, m in self.queue)


def answer(message: Message) -> Message:
    view = {SLOW: "v01", QUICK: "v02"}[message.metadata.dst_node_id]
    said = {"tally": pack_tally(Tally(1)), "clock": MetricRecord({"seconds": 1.0})}
    return Message(address({view: said}, ConfigRecord({"views": [view]})), reply_to=message)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    become_server(1)
    clock = Clock()
    monkeypatch.setattr("strategies.quorum.time", clock)
    return clock


def new_post() -> Post:
    return Post(Roster({"v01": SLOW, "v02": QUICK}, {SLOW, QUICK}), Ledger(), "run")


def train(post: Post, grid: TwoHosts, round: int, **wishes: bool) -> list[int]:
    """A round; how many rounds late an answer of the slow host came in it."""
    until = grid.clock.now + TIMEOUT
    messages = post.send(grid, "train", round, {"v01": {}, "v02": {}}, {"round": round, **wishes})
    post.sort(grid.send_and_receive(messages, timeout=TIMEOUT))
    linger(post, grid, until)
    assert "v02" in post.exchange.letters
    return [round - of for of, _ in post.late(grid).get("v01", [])]


def sits_an_exam(post: Post, grid: TwoHosts, last: bool = True) -> bool:
    messages = post.send(grid, "evaluate", EXAM, {"v01": {}, "v02": {}}, {"round": 1}, to_all=last)
    post.sort(grid.send_and_receive(messages, timeout=TIMEOUT))
    return "v01" in post.exchange.letters


@pytest.mark.parametrize("times", [1.2, 1.5, 1.8])
@pytest.mark.parametrize("wishes", [{}, {"wants_weights": True}])
def test_a_host_slower_than_a_round_is_one_round_late_and_sits_the_last_exam(
    clock: Clock, times: float, wishes: dict[str, bool]
) -> None:
    post, grid = new_post(), TwoHosts(clock, times * TIMEOUT)
    late = [how for round in range(1, 31) for how in train(post, grid, round, **wishes)]
    assert max(late) <= 2 and set(late[3:]) == {1} and len(late) >= 14, "it takes part in every second round"
    assert clock.now <= 30 * TIMEOUT
    assert sits_an_exam(post, grid)


def test_a_server_whose_clock_is_put_back_knows_who_is_slow_all_the_same(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 1.5 * TIMEOUT, put_back=True)
    late = [how for round in range(1, 31) for how in train(post, grid, round)]
    assert set(late[3:]) == {1} and len(late) >= 14 and sits_an_exam(post, grid)


@pytest.mark.parametrize("times", [3, 10])
def test_what_waits_for_a_much_slower_host_does_not_grow(clock: Clock, times: float) -> None:
    post, grid = new_post(), TwoHosts(clock, times * TIMEOUT)
    late = []
    for round in range(1, 61):
        late += train(post, grid, round)
        assert grid.waiting() <= 3
    assert max(late) <= 2 * times + 1


@pytest.mark.parametrize(("round", "exam"), [(0.5, 2.5), (2.5, 0.5), (2.5, 2.5), (1e9, 1)])
def test_exams_do_not_queue_up_for_a_slow_host(clock: Clock, round: float, exam: float) -> None:
    post, grid = new_post(), TwoHosts(clock, round * TIMEOUT, exam=exam * TIMEOUT)
    for number in range(1, 41):
        train(post, grid, number)
        sits_an_exam(post, grid, last=False)
        assert grid.waiting() <= 5
    sits_an_exam(post, grid)
    assert not post.exchange.held, "all are given the last"


def test_a_host_that_is_still_at_an_exam_is_not_given_another(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 1, exam=2.5 * TIMEOUT)
    sits_an_exam(post, grid, last=False)
    sits_an_exam(post, grid, last=False)
    assert post.exchange.failures["v01"] == "still at an exam"
    clock.sleep(TIMEOUT)
    train(post, grid, 1)
    grid.exam = 1
    assert sits_an_exam(post, grid, last=False), "it has answered"


def test_a_view_that_is_not_asked_is_still_at_an_earlier_round(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 2.5 * TIMEOUT)
    reasons = []
    for round in range(1, 4):
        train(post, grid, round)
        reasons.append(post.exchange.failures["v01"])
    assert reasons == ["no answer in time", "no answer in time", "still at round 1"]


def test_a_host_that_was_late_once_misses_no_round(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 1.05 * TIMEOUT)
    train(post, grid, 1)
    grid.seconds = 1
    assert train(post, grid, 2) == [1] and "v01" in post.exchange.letters
    train(post, grid, 3)
    assert "v01" in post.exchange.letters


@pytest.mark.parametrize("speak", [False, True])
def test_a_round_in_which_the_views_speak_reaches_a_slow_host(clock: Clock, speak: bool) -> None:
    post, grid = new_post(), TwoHosts(clock, 2.5 * TIMEOUT)
    for round in range(1, 4):
        train(post, grid, round)
    train(post, grid, 4, wants_soft=speak)
    assert post.exchange.held == (set() if speak else {"v01"})
    train(post, grid, 5, wants_soft=speak)
    assert post.exchange.held == {"v01"}, "once"


def test_a_host_that_lost_two_messages_is_written_to_again(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 1)
    train(post, grid, 1)
    grid.dead = True
    train(post, grid, 2)
    train(post, grid, 3)
    grid.dead = False
    came = [round for round in range(4, 20) if not train(post, grid, round) and "v01" in post.exchange.letters]
    assert came[0] == 13 and came == list(range(13, 20)), "ten rounds after the second, and in each from there on"


@pytest.mark.parametrize("slow", [False, True])
def test_a_host_whose_messages_are_lost_is_written_to_again_and_takes_part_at_once(clock: Clock, slow: bool) -> None:
    """Nobody says that they are: Flower does where it is asked while the node is away."""
    post, grid = new_post(), TwoHosts(clock, (1.5 if slow else 0.5) * TIMEOUT)
    for round in range(1, 6):
        train(post, grid, round)
    grid.queue, grid.free, grid.dead, grid.seconds = [], clock.now, True, 1
    train(post, grid, 6)
    grid.dead = False
    missed = 0
    while "v01" not in post.exchange.letters:
        train(post, grid, 7 + missed)
        missed += 1
    assert missed <= (6 if slow else 1)
    train(post, grid, 20)
    assert "v01" in post.exchange.letters


def test_an_exam_that_is_answered_tells_that_no_earlier_answer_will_come(clock: Clock) -> None:
    post, grid = new_post(), TwoHosts(clock, 1)
    train(post, grid, 1)
    grid.dead = True
    train(post, grid, 2), train(post, grid, 3), train(post, grid, 4)
    assert post.exchange.held == {"v01"}
    grid.dead, grid.free = False, 0
    assert sits_an_exam(post, grid)
    train(post, grid, 5)
    assert "v01" in post.exchange.letters
