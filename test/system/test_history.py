"""The checker of histories finds each kind of wrong history that is planted here, and no fault in a right one."""
import dataclasses

import pytest

from history import Attempt, History
from longwire_client import event_of

A, B = "topic:a", "0000000000000001"


def message(seq, payload, epoch=B, **more):
    return event_of({"type": "message", "channel": A, "epoch": epoch, "seq": seq, "id": 10 * seq, "time": 1000 + seq,
                     "media": "text/plain", "data": payload, **more})


def gap(first, last, why, epoch=B):
    return event_of({"type": "gap", "channel": A, "epoch": epoch, "from": first, "to": last, "why": why})


def attempt(seq, payload, began, ended=None, status=201, epoch=B, **more):
    acknowledged = {"epoch": epoch, "seq": seq, "id": 10 * seq, "time": 1000 + seq} if status == 201 else {}
    answers = more.pop("answers", ((status, None, "", "node1"),))
    return Attempt("p1", A, payload.encode(), began, began + 0.5 if ended is None else ended, status, answers=answers,
                   **acknowledged, **more)


class Record:
    """Three messages, of which two followers saw all. Each test changes one thing."""

    def __init__(self):
        self.attempts = [attempt(1, "one", 1), attempt(2, "two", 2), attempt(3, "three", 3)]
        self.log = [message(1, "one"), message(2, "two"), message(3, "three")]
        self.seen = {"ann": list(self.log), "bob": list(self.log)}
        self.ended_epochs = ()

    def history(self):
        history = History(self.ended_epochs)
        for one in self.attempts:
            history.publish(one)
        for follower, events in self.seen.items():
            for event in events:
                history.saw(follower, event)
        history.log(A, self.log)
        return history

    def kinds(self):
        return {fault.kind for fault in self.history().faults()}


@pytest.fixture
def record():
    return Record()


def test_a_right_history_has_no_fault(record):
    record.attempts.append(attempt(0, "put off", 4, status=503, answers=((503, "1", "postgresql is away", "node1"),)))
    record.history().check()


def test_unknown_outcomes_may_be_there_or_not(record):
    record.attempts[2] = attempt(3, "three", 3, status=0, answers=())
    record.attempts.append(attempt(0, "never", 4, status=0, answers=()))
    record.history().check()


def test_gaps_that_were_told(record):
    record.seen["ann"] = [gap(1, 2, "trimmed"), record.log[2]]
    record.history().check()


def test_an_epoch_that_was_told(record):
    """A copy was promoted that lacked the third message; another one took its seq, in a new epoch."""
    new = "0000000000000002"
    record.ended_epochs = (B,)
    record.attempts.append(attempt(3, "other", 4, epoch=new))
    old = list(record.log)
    record.log = [message(1, "one", new), message(2, "two", new), message(3, "other", new)]
    record.seen = {"ann": old + [gap(1, 0, "epoch", new)] + record.log, "bob": list(record.log)}
    history = record.history()
    history.check()
    assert [one.payload for one in history.lost_with_their_epoch()] == [b"three"]


def lose_the_last(record):
    record.log.pop()
    record.seen = {name: events[:2] for name, events in record.seen.items()}


def move_a_message(record):
    record.attempts[1] = attempt(3, "two", 2)


def double_a_message(record):
    record.log.append(message(4, "two"))
    record.seen = {name: list(record.log) for name in record.seen}


def store_what_was_refused(record):
    record.attempts[1] = attempt(2, "two", 2, status=403)


def leave_a_hole(record):
    record.log[2] = message(4, "three")
    record.attempts[2] = attempt(4, "three", 3)
    record.seen = {}


def overtake(record):
    record.attempts[0], record.attempts[1] = attempt(1, "one", 5), attempt(2, "two", 2)


def fall_back_with_an_id(record):
    record.log[2] = message(3, "three", id=15)
    record.attempts[2] = dataclasses.replace(record.attempts[2], id=15)
    record.seen = {}


def invent_a_message(record):
    record.log.append(message(4, "four"))
    record.seen = {name: list(record.log) for name in record.seen}


def show_what_nobody_published(record):
    record.seen["ann"] = record.log + [message(4, "four")]


def give_a_seq_twice(record):
    """In the manner of a copy that lacks the last commit and keeps the epoch."""
    record.attempts.append(attempt(3, "other", 4))
    record.seen["bob"][2] = message(3, "other")


def show_another_time(record):
    record.seen["bob"][1] = message(2, "two", time=7)


def repeat(record):
    record.seen["ann"].insert(2, record.seen["ann"][1])


def step_back(record):
    record.seen["ann"].append(record.seen["ann"][0])


def swap(record):
    events = record.seen["ann"]
    events[1], events[2] = events[2], events[1]


def skip(record):
    del record.seen["ann"][1]


def skip_the_first(record):
    del record.seen["ann"][0]


def stop_early(record):
    record.seen["bob"].pop()


def gap_that_hides_too_little(record):
    record.seen["ann"] = [gap(1, 1, "trimmed"), record.log[2]]


def change_the_epoch_in_silence(record):
    record.seen["ann"] = record.log[:2] + [message(3, "three", "0000000000000002")]


def put_off_without_a_time(record):
    record.attempts[0] = dataclasses.replace(record.attempts[0], answers=((503, None, "redis is away", "n1"), (201, None, "", "n2")))


def put_off_without_a_reason(record):
    record.attempts[0] = dataclasses.replace(record.attempts[0], answers=((503, "1", "", "n1"), (201, None, "", "n2")))


def fail_within(record):
    record.attempts[0] = dataclasses.replace(record.attempts[0], answers=((500, None, "oops", "n1"), (201, None, "", "n2")))


PLANTED = [
    (lose_the_last, "lost"), (move_a_message, "lost"), (double_a_message, "doubled"), (store_what_was_refused, "refused"),
    (leave_a_hole, "hole"), (overtake, "order"), (fall_back_with_an_id, "ids"), (invent_a_message, "unknown"),
    (show_what_nobody_published, "unknown"), (give_a_seq_twice, "two contents"), (show_another_time, "two contents"),
    (repeat, "again"), (step_back, "again"), (swap, "skipped"), (swap, "again"), (skip, "skipped"), (skip_the_first, "skipped"),
    (stop_early, "unseen"), (gap_that_hides_too_little, "skipped"), (change_the_epoch_in_silence, "untold"),
    (put_off_without_a_time, "dishonest"), (put_off_without_a_reason, "dishonest"), (fail_within, "dishonest"),
]


@pytest.mark.parametrize("plant, kind", PLANTED, ids=[f"{plant.__name__}-{kind}" for plant, kind in PLANTED])
def test_a_wrong_history_is_found(record, plant, kind):
    plant(record)
    assert kind in record.kinds()


def test_a_told_end_of_an_epoch_excuses_no_second_content(record):
    record.ended_epochs = (B,)
    give_a_seq_twice(record)
    assert "two contents" in record.kinds()


def test_a_follower_that_saw_nothing_is_told(record):
    history = record.history()
    history.followers_of["carl"] = {A}
    assert [fault.kind for fault in history.faults()] == ["unseen"]


def test_the_record_can_be_written(record, tmp_path):
    record.history().write(tmp_path / "lines")
    assert len((tmp_path / "lines").read_text().splitlines()) == 3 + 6 + 3
