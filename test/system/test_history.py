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


class Story:
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
def story():
    return Story()


def test_a_right_history_has_no_fault(story):
    story.attempts.append(attempt(0, "put off", 4, status=503, answers=((503, "1", "postgresql is away", "node1"),)))
    story.history().check()


def test_unknown_outcomes_may_be_there_or_not(story):
    story.attempts[2] = attempt(3, "three", 3, status=0, answers=())
    story.attempts.append(attempt(0, "never", 4, status=0, answers=()))
    story.history().check()


def test_gaps_that_were_told(story):
    story.seen["ann"] = [gap(1, 2, "trimmed"), story.log[2]]
    story.history().check()


def test_an_epoch_that_was_told(story):
    """A copy was promoted that lacked the third message; another one took its seq, in a new epoch."""
    new = "0000000000000002"
    story.ended_epochs = (B,)
    story.attempts.append(attempt(3, "other", 4, epoch=new))
    old = list(story.log)
    story.log = [message(1, "one", new), message(2, "two", new), message(3, "other", new)]
    story.seen = {"ann": old + [gap(1, 0, "epoch", new)] + story.log, "bob": list(story.log)}
    history = story.history()
    history.check()
    assert [one.payload for one in history.lost_with_their_epoch()] == [b"three"]


def lose_the_last(story):
    story.log.pop()
    story.seen = {name: events[:2] for name, events in story.seen.items()}


def move_a_message(story):
    story.attempts[1] = attempt(3, "two", 2)


def double_a_message(story):
    story.log.append(message(4, "two"))
    story.seen = {name: list(story.log) for name in story.seen}


def store_what_was_refused(story):
    story.attempts[1] = attempt(2, "two", 2, status=403)


def leave_a_hole(story):
    story.log[2] = message(4, "three")
    story.attempts[2] = attempt(4, "three", 3)
    story.seen = {}


def overtake(story):
    story.attempts[0], story.attempts[1] = attempt(1, "one", 5), attempt(2, "two", 2)


def fall_back_with_an_id(story):
    story.log[2] = message(3, "three", id=15)
    story.attempts[2] = dataclasses.replace(story.attempts[2], id=15)
    story.seen = {}


def invent_a_message(story):
    story.log.append(message(4, "four"))
    story.seen = {name: list(story.log) for name in story.seen}


def show_what_nobody_published(story):
    story.seen["ann"] = story.log + [message(4, "four")]


def give_a_seq_twice(story):
    """In the manner of a copy that lacks the last commit and keeps the epoch."""
    story.attempts.append(attempt(3, "other", 4))
    story.seen["bob"][2] = message(3, "other")


def show_another_time(story):
    story.seen["bob"][1] = message(2, "two", time=7)


def repeat(story):
    story.seen["ann"].insert(2, story.seen["ann"][1])


def step_back(story):
    story.seen["ann"].append(story.seen["ann"][0])


def swap(story):
    events = story.seen["ann"]
    events[1], events[2] = events[2], events[1]


def skip(story):
    del story.seen["ann"][1]


def skip_the_first(story):
    del story.seen["ann"][0]


def stop_early(story):
    story.seen["bob"].pop()


def gap_that_hides_too_little(story):
    story.seen["ann"] = [gap(1, 1, "trimmed"), story.log[2]]


def change_the_epoch_in_silence(story):
    story.seen["ann"] = story.log[:2] + [message(3, "three", "0000000000000002")]


def put_off_without_a_time(story):
    story.attempts[0] = dataclasses.replace(story.attempts[0], answers=((503, None, "redis is away", "n1"), (201, None, "", "n2")))


def put_off_without_a_reason(story):
    story.attempts[0] = dataclasses.replace(story.attempts[0], answers=((503, "1", "", "n1"), (201, None, "", "n2")))


def fail_within(story):
    story.attempts[0] = dataclasses.replace(story.attempts[0], answers=((500, None, "oops", "n1"), (201, None, "", "n2")))


PLANTED = [
    (lose_the_last, "lost"), (move_a_message, "lost"), (double_a_message, "doubled"), (store_what_was_refused, "refused"),
    (leave_a_hole, "hole"), (overtake, "order"), (fall_back_with_an_id, "ids"), (invent_a_message, "unknown"),
    (show_what_nobody_published, "unknown"), (give_a_seq_twice, "two contents"), (show_another_time, "two contents"),
    (repeat, "again"), (step_back, "again"), (swap, "skipped"), (swap, "again"), (skip, "skipped"), (skip_the_first, "skipped"),
    (stop_early, "unseen"), (gap_that_hides_too_little, "skipped"), (change_the_epoch_in_silence, "untold"),
    (put_off_without_a_time, "dishonest"), (put_off_without_a_reason, "dishonest"), (fail_within, "dishonest"),
]


@pytest.mark.parametrize("plant, kind", PLANTED, ids=[f"{plant.__name__}-{kind}" for plant, kind in PLANTED])
def test_a_wrong_history_is_found(story, plant, kind):
    plant(story)
    assert kind in story.kinds()


def test_a_told_end_of_an_epoch_excuses_no_second_content(story):
    story.ended_epochs = (B,)
    give_a_seq_twice(story)
    assert "two contents" in story.kinds()


def test_a_follower_that_saw_nothing_is_told(story):
    history = story.history()
    history.followers_of["carl"] = {A}
    assert [fault.kind for fault in history.faults()] == ["unseen"]


def test_the_record_can_be_written(story, tmp_path):
    story.history().write(tmp_path / "record")
    assert len((tmp_path / "record").read_text().splitlines()) == 3 + 6 + 3
