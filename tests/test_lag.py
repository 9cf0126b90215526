"""A SuperNode of Flower 1.41 that is left with a reply too many: how, what follows, and what brings it into step again.

Flower's own loop, state and handlers are at work here, in this process. Their names are private: where Flower moves
them, this file breaks, and nothing else.
"""

import fcntl
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
from flwr.app import ConfigRecord, Message, MetricRecord
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal as loop
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState
from flwr.supernode.servicer.runtime import runtime_handlers as runtime

from clients.meeting import join, wait
from fedkd.errors import Remark
from fedkd.wire import address
from simulations.host_grid import HostGrid
from simulations.identity import become_server, new_run
from strategies.lag import PAIR, Lag
from strategies.ledger import EXAM, Ledger
from strategies.post import Post
from strategies.roster import Roster, muster

RUN, NODE = 1, 11


class ClientApp:
    """What a SuperNode starts for a message."""

    def __init__(self, state: InMemoryNodeState) -> None:
        self._state = state
        acquired = runtime.acquire_task(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]), state)
        self._token, self._task = acquired.token, acquired.task.task_id
        state.activate_task(self._task)
        self._message = message_from_proto(
            runtime.pull_messages(PullAppMessagesRequest(), state, self._known()).messages_list[0]
        )
        self.kind = self._message.metadata.message_type

    def reply(self) -> None:
        said = address({"v01": {"tally": MetricRecord({"count": 1})}}, ConfigRecord({"views": ["v01"]}))
        made = Message(said, reply_to=self._message)
        made.metadata.__dict__["_message_id"] = made.object_id
        with no_object_id_recompute():
            tree, parts = get_object_tree(made), get_all_nested_objects(made)
        proto = message_to_proto(remove_content_from_message(made))
        request = PushAppMessagesRequest(messages_list=[proto], message_object_trees=[tree])
        asked = runtime.push_messages(request, self._state, self._known())
        for part in asked.objects_to_push:
            content = parts[part].deflate()
            sent = PushObjectRequest(object_id=part, object_content=content, session_id=asked.session_id)
            assert runtime.push_object(sent, self._state, self._known()).stored

    def end(self) -> None:
        runtime.push_task_output(PushTaskOutputRequest(sub_status=SubStatus.COMPLETED), self._state, self._known())

    def hears_nothing_for_a_minute(self) -> None:
        """So it seems to the SuperNode: it died, or the host's clock jumped."""
        self._state.task_token_store[self._task].active_until -= timedelta(minutes=2)

    def _known(self):
        if (task := self._state.get_task_by_token(self._token)) is None:
            raise PermissionError("Flower answers 401")
        return task


class OneHost(HostGrid):
    """A grid with one node: Flower's SuperNode, and ClientApps that its warm process answers one after the other."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(node_ids=lambda: [NODE]), RUN)  # type: ignore[arg-type]
        self.state = InMemoryNodeState(ObjectStoreFactory().store())
        self.state.set_node_id(NODE)
        self.state.store_run(new_run(RUN))
        self.under_way: list[Message] = []
        self.came: list[Message] = []
        self.sent: list[str] = []
        self.waits: ClientApp | None = None

    def push_messages(self, messages) -> list[str]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            self.under_way.append(message)
            self.sent.append(message.metadata.message_type)
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids) -> list[Message]:
        found = [reply for reply in self.came if reply.metadata.reply_to_message_id in set(message_ids)]
        self.came = [reply for reply in self.came if reply not in found]
        return found

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        ids = self.push_messages(messages)
        self.serve()
        return self.pull_messages(ids)

    def take(
        self, fetch: Callable[[int, str], bytes] | None = None, confirm: Callable[[int, str], None] = lambda *any: None
    ) -> bool:
        """The SuperNode takes the message that was made first; whether it has one to answer now."""
        if not self.under_way:
            return False
        message = min(self.under_way, key=lambda message: message.metadata.created_at)
        self.under_way.remove(message)
        with no_object_id_recompute():
            tree, parts = get_object_tree(message), get_all_nested_objects(message)
        taken = loop._pull_and_store_message(
            self.state, self.state.object_store, {}, lambda: (remove_content_from_message(message), tree),
            None, None, fetch or (lambda run, part: parts[part].deflate()), confirm, None,
        )  # type: ignore[arg-type]  # fmt: skip
        return taken is not None

    def answer(self) -> None:
        """The SuperNode waits until it has a reply, and sends all that it has."""

        def send(reply: Message, tree: ObjectTree, seconds: float) -> tuple[set[str], str]:
            parts = {part.object_id: self.state.object_store.get(part.object_id) for part in iterate_object_tree(tree)}
            self.came.append(cast(Message, inflate_object_from_contents(tree.object_id, parts)))
            return set(), ""

        loop._push_messages(self.state, self.state.object_store, send, lambda *part: None)  # type: ignore[arg-type]

    def ready(self) -> int:
        """Replies that the SuperNode has, or would find that it has when it looks for them."""
        self.state.get_tasks()
        return sum(bool(entry.message.metadata.reply_to_message_id) for entry in self.state.msg_store.values())

    def work(self) -> None:
        """ClientApps answer what was taken."""
        while self.state.get_tasks(statuses=["pending"]):
            app = ClientApp(self.state)
            if app.kind == "query.wait":
                self.waits = app
                continue
            for done in (app, self.waits) if app.kind == "query.join" and self.waits else (app,):
                done.reply()
                done.end()
            self.waits = None if app.kind == "query.join" else self.waits
        if self.waits and not self.ready():
            self.waits.reply()  # it has waited in vain
            self.waits.end()
            self.waits = None

    def serve(self) -> None:
        """The SuperNode's loop, until there are no more messages."""
        while self.take():
            if not self.ready():
                self.work()
            self.answer()
        self.work()


@pytest.fixture
def grid() -> OneHost:
    become_server(RUN)
    return OneHost()


def message(kind: str = "train") -> Message:
    return Message(address({}, ConfigRecord({"round": 0})), NODE, kind)


def is_answered(grid: OneHost) -> bool:
    return bool(grid.send_and_receive([message()]))


def is_over(*asked: object) -> NoReturn:
    """What the SuperLink says of a run."""
    raise RunNotRunningException


def over_at_confirmation(grid: OneHost) -> None:
    """The run is over when the SuperNode confirms a message: it gives it up, and yet has it answered."""
    grid.push_messages([message()])
    assert not grid.take(confirm=is_over)
    grid.work()


def over_before_its_parts(grid: OneHost) -> None:
    """The run is over when it fetches a message's parts: a ClientApp waits for them until the host's clock jumps."""
    grid.push_messages([message()])
    assert not grid.take(fetch=is_over)
    ClientApp(grid.state).hears_nothing_for_a_minute()


def dead_client_app(grid: OneHost) -> None:
    """A ClientApp dies after its reply; a minute later the SuperNode takes it for that of the next message."""
    grid.push_messages([message(), message()])
    grid.take()
    dead = ClientApp(grid.state)
    dead.reply()
    grid.answer()
    grid.take()
    alive = ClientApp(grid.state)
    dead.hears_nothing_for_a_minute()
    grid.answer()
    assert [reply.has_error() for reply in grid.came] == [False, True]
    alive.reply()
    alive.end()


WAYS = (over_at_confirmation, over_before_its_parts, dead_client_app)


@pytest.mark.parametrize("way", WAYS)
def test_a_supernode_with_a_reply_too_many_answers_one_message_late(way, grid: OneHost) -> None:
    assert is_answered(grid)
    way(grid)
    grid.came.clear()
    assert not any(is_answered(grid) for _ in range(5)) and grid.ready() == 1


def test_a_clock_that_jumps_leaves_no_reply_too_many(grid: OneHost) -> None:
    grid.push_messages([message()])
    grid.take()
    app = ClientApp(grid.state)
    app.hears_nothing_for_a_minute()
    grid.answer()
    with pytest.raises(PermissionError):
        app.reply()
    assert [reply.has_error() for reply in grid.came] == [True] and is_answered(grid) and not grid.ready()


def exchange(post: Post, grid: OneHost, round: int, kind: str = "train", to_all: bool = False) -> bool:
    """Whether the view answers in time."""
    post.sort(grid.send_and_receive(post.send(grid, kind, round, {"v01": {}}, {"round": round}, to_all=to_all)))
    post.late(grid)
    return not post.exchange.lost


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_lags_is_brought_into_step(way, grid: OneHost) -> None:
    post = Post(muster(grid, ["v01"], together=False, patience=0.1, announce=str), Ledger(), "run")
    assert exchange(post, grid, 1)
    way(grid)
    with pytest.warns(Remark, match=rf"node {NODE} \(v01\) .* restart it if it lasts"):
        assert [exchange(post, grid, round) for round in range(2, 7)] == [False, False, True, True, True]
    assert not grid.ready() and not post.roster.lag.nodes
    assert [kind for kind in grid.sent if kind in PAIR] == list(PAIR), "once"


@pytest.mark.parametrize("kind", ["query.enrol", "train.teacher", "evaluate"])
def test_a_host_that_lags_is_known_by_any_message(kind: str, grid: OneHost) -> None:
    post = Post(Roster({"v01": NODE}), Ledger(), "run")
    over_at_confirmation(grid)
    assert [exchange(post, grid, 0, kind, to_all=True) for _ in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_lags_is_brought_into_step_amid_exams(way, grid: OneHost) -> None:
    """It is held neither for a round nor for an exam: what it is still at it answers with the next message only."""
    post = Post(muster(grid, ["v01"], together=False, patience=0.1, announce=str), Ledger(), "run")
    way(grid)
    kinds = [(round, kind) for round in range(1, 6) for kind in ("train", "evaluate")]
    with pytest.warns(Remark, match=rf"node {NODE} \(v01\) .* restart it if it lasts"):
        in_time = [exchange(post, grid, round if kind == "train" else EXAM, kind) for round, kind in kinds]
    assert in_time == [False, False] + 8 * [True]


def test_a_host_that_lags_from_the_start_takes_part(grid: OneHost) -> None:
    over_at_confirmation(grid)
    roster = muster(grid, ["v01"], together=False, patience=0.1, announce=str)
    assert roster.views == ("v01",) and not roster.lag.nodes and not grid.ready()
    post = Post(roster, Ledger(), "run")
    assert [exchange(post, grid, 0, "query.enrol"), *(exchange(post, grid, round) for round in (1, 2))] == [True] * 3


def test_a_host_that_may_lag_still_after_the_muster_is_brought_into_step(grid: OneHost, monkeypatch) -> None:
    """It has not replied to both."""
    over_at_confirmation(grid)
    with monkeypatch.context() as patch:
        patch.setattr("strategies.roster.PAIR", ("query.hello",))
        roster = muster(grid, ["v01"], together=False, patience=0.1, announce=str)
    assert roster.lag.nodes == {NODE} and grid.ready()
    assert exchange(Post(roster, Ledger(), "run"), grid, 0, "query.enrol") and not grid.ready()


def test_a_host_that_is_slow_is_left_alone(grid: OneHost) -> None:
    """Its answer to a message is made when the next one is under way, or was held back."""
    post = Post(Roster({"v01": NODE}), Ledger(), "run")
    late = []
    for round in range(1, 8):
        is_at_work = bool(grid.under_way)
        grid.push_messages(post.send(grid, "train", round, {"v01": {}}, {"round": round}))
        post.sort([])
        if is_at_work:
            grid.take(), grid.work(), grid.answer()
            late += [round - of for of, _ in post.late(grid)["v01"]]
    assert late == [1] * 4 and set(grid.sent) == {"train"}


def test_a_slow_host_whose_clock_is_late_is_taken_for_one_that_lags_more_and_more_rarely(grid: OneHost) -> None:
    lag, pairs = Lag(), []
    for number in range(40):
        reply = Message(address({}), reply_to=message())
        lag.wrote([message()])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Remark)
            assert lag.judge(reply, "v01"), "it looks so each time"
        if lag.bring_into_step(grid):
            pairs.append(number)
    assert pairs == [0, 2, 6, 14, 22, 30, 38]


def test_the_replies_to_the_two_messages_are_fetched(grid: OneHost) -> None:
    """So the SuperLink lets go of them."""
    post = Post(Roster({"v01": NODE}), Ledger(), "run")
    over_at_confirmation(grid)
    with pytest.warns(Remark):
        assert [exchange(post, grid, round) for round in range(1, 6)] == [False, False, True, True, True]
    assert not [reply for reply in grid.came if reply.metadata.message_type in PAIR]


def test_a_host_whose_link_was_cut_is_taken_for_one_that_lags_once(grid: OneHost) -> None:
    """Its answer was made before the next message, and came after it."""
    post = Post(Roster({"v01": NODE}), Ledger(), "run")
    grid.push_messages(post.send(grid, "train", 1, {"v01": {}}, {"round": 1}))
    grid.take(), grid.work()
    post.sort([])
    written = post.send(grid, "train", 2, {"v01": {}}, {"round": 2})
    grid.answer()
    post.sort(grid.send_and_receive(written))
    assert list(post.late(grid)) == ["v01"] and not post.exchange.lost
    assert all(exchange(post, grid, round) for round in range(3, 8))
    assert [kind for kind in grid.sent if kind in PAIR] == list(PAIR) and not post.roster.lag.nodes


def moment(meet: Callable[..., bool], *where: object) -> float:
    """When one that meets another goes on."""
    assert meet(*where)
    return time.monotonic()


def test_two_client_apps_meet_and_go_on_together(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        first = processes.submit(moment, wait, tmp_path, 60.0)
        while not is_locked(tmp_path / "waits.lock"):
            time.sleep(0.01)
        second = processes.submit(moment, join, tmp_path)
        assert abs(first.result() - second.result()) < 0.2


def is_locked(path: Path) -> bool:
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_client_app_waits_in_vain_for_a_while_and_joins_nobody_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    assert not wait(tmp_path, 0.2) and 0.2 <= time.monotonic() - began < 5
    assert not join(tmp_path) and not wait(tmp_path, 0.0)
