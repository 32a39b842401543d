"""What a cluster was told, what it answered and what its followers saw, checked in the manner of Jepsen: while the faults happen
everything is recorded, and afterwards the record is held against the promises.

    history = History()
    history.publish(Attempt(...))                   # each publish, with what was answered
    history.saw("follower", event)                  # each message, recall and gap, as it came (longwire_client.Event)
    history.log("topic:a", entries)                 # the log as it is in the end
    faults = history.faults()                       # [] if every promise was kept

The promises, and the names of the faults:

    lost         what was acknowledged is in the log, at the place that was acknowledged
    doubled      what was published once, with one key, is in the log once
    refused      what was refused for good (4xx) is not in the log
    hole         a log's seqs are dense
    order        what was acknowledged before another publish began lies before it
    ids          ids rise within a channel
    unknown      nothing is in a log, and nothing is seen, that nobody published
    two contents a seq of an epoch is one message: the same payload, id and time for everybody, for ever
    again        a follower sees no seq twice, and none that lies before one that it saw
    skipped      a follower sees each seq, unless a gap told that it would not
    unseen       in the end each follower has seen all up to the head
    untold       an epoch changes for a follower only behind a gap that says so
    dishonest    429, 503 and 507 say when to come again (Retry-After), and a 503 says why

A publish without a clear answer (503, a broken connection) may be in the log, or not; but not twice.

An epoch that ended may have lost its last messages, if its end was told (`ended_epochs`): a copy was promoted that lacked them. Then
what was acknowledged in it may be missing, and is counted, not a fault; all other promises hold for it.
"""
import collections
import dataclasses
import json

GAP_OF_EPOCH = "epoch"
CLEAR_REFUSALS = range(400, 500)
COME_AGAIN = (429, 503, 507)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One publish, from its first try to its last. Times are monotonic seconds; `answers` are those before the last one."""
    client: str
    channel: str
    payload: bytes
    began: float
    ended: float
    status: int             # of the last answer; 0: the connection broke, or nothing came in time
    epoch: str = None
    seq: int = None
    id: int = None
    time: int = None
    answers: tuple = ()     # (status, retry_after, detail, node) of every answer, the last one too

    @property
    def is_acknowledged(self):
        return self.status in (200, 201)


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str
    what: str

    def __str__(self):
        return f"{self.kind}: {self.what}"


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A message or gap as a follower got it."""
    follower: str
    kind: str
    channel: str
    epoch: str
    seq: int
    payload: bytes
    object: dict
    at: float = 0.0


class History:
    def __init__(self, ended_epochs=()):
        self.attempts, self.receipts, self.logs = [], collections.defaultdict(list), {}
        self.answers = []               # of all attempts, those under way too: (status, retry_after, detail, node)
        self.ended_epochs = set(ended_epochs)
        self.followers_of = collections.defaultdict(set)   # follower: the channels of which it must have seen all

    # --- the record -----------------------------------------------------------------------------------------------

    def publish(self, attempt):
        self.attempts.append(attempt)

    def saw(self, follower, event, at=0.0, must_be_whole=True):
        self.receipts[follower].append(Receipt(follower, event.kind, event.channel, event.epoch, event.seq, event.payload,
                                           event.object, at))
        if must_be_whole:
            self.followers_of[follower].add(event.channel)

    def log(self, channel, entries):
        """The log in the end, as events (longwire_client.Event)."""
        self.logs[channel] = list(entries)

    def write(self, path):
        """The record as lines of JSON, for those who look into a fault afterwards."""
        with open(path, "w", encoding="utf-8") as file:
            for attempt in self.attempts:
                print(json.dumps({"publish": dataclasses.asdict(attempt)}, default=repr), file=file)
            for receipts in self.receipts.values():
                for receipt in receipts:
                    print(json.dumps({"saw": dataclasses.asdict(receipt)}, default=repr), file=file)
            for channel, entries in self.logs.items():
                for entry in entries:
                    print(json.dumps({"log": channel, "entry": entry.object}, default=repr), file=file)

    # --- the judgement --------------------------------------------------------------------------------------------

    def faults(self):
        found = []
        for check in (self.check_answers, self.check_logs, self.check_acknowledged, self.check_order, self.check_contents,
                      self.check_followers):
            found += [Fault(*fault) for fault in check()]
        return found

    def lost_with_their_epoch(self):
        """What was acknowledged in an epoch whose end was told, and is in the log no more."""
        return [attempt for attempt in self.acknowledged() if attempt.epoch in self.ended_epochs
                and not self.places_of(attempt)]

    def check(self):
        """Raises if a promise was broken."""
        faults = self.faults()
        assert not faults, f"{len(faults)} faults; the first: " + "; ".join(map(str, faults[:5]))

    def acknowledged(self):
        return [attempt for attempt in self.attempts if attempt.is_acknowledged]

    def places_of(self, attempt):
        return [entry for entry in self.logs.get(attempt.channel, ()) if entry.payload == attempt.payload]

    def check_answers(self):
        for attempt in self.attempts:
            for status, retry_after, detail, node in attempt.answers:
                if status in COME_AGAIN and not (retry_after or "").isdigit():
                    yield "dishonest", f"{node} answered {status} without Retry-After: {detail!r}"
                elif status == 503 and not detail:
                    yield "dishonest", f"{node} answered 503 without a reason"
                elif status >= 500 and status not in COME_AGAIN:
                    yield "dishonest", f"{node} answered {status}: {detail!r}"

    def check_logs(self):
        published = collections.defaultdict(set)
        for attempt in self.attempts:
            published[attempt.channel].add(attempt.payload)
        for channel, entries in self.logs.items():
            seen = {}
            for before, entry in zip([None] + entries, entries):
                if before is not None and entry.seq != before.seq + 1:
                    yield "hole", f"{channel}: {entry.seq} follows {before.seq}"
                if before is not None and entry.object["id"] <= before.object["id"]:
                    yield "ids", f"{channel}: {entry.object['id']} at {entry.seq} is not above {before.object['id']}"
                if entry.kind != "message":
                    continue
                if entry.payload in seen:
                    yield "doubled", f"{channel}: {entry.payload!r} is at {seen[entry.payload]} and at {entry.seq}"
                elif entry.payload not in published[channel]:
                    yield "unknown", f"{channel}: nobody published {entry.payload!r} at {entry.seq}"
                seen[entry.payload] = entry.seq

    def check_acknowledged(self):
        places = {channel: {entry.payload: entry for entry in entries} for channel, entries in self.logs.items()}
        for attempt in self.attempts:
            entry = places.get(attempt.channel, {}).get(attempt.payload)
            where = f"{attempt.channel}: {attempt.payload!r}"
            if attempt.is_acknowledged and attempt.epoch in self.ended_epochs:
                continue
            if attempt.is_acknowledged and entry is None:
                yield "lost", f"{where} was acknowledged at {attempt.seq} of {attempt.epoch}, and is not in the log"
            elif attempt.is_acknowledged and (entry.epoch, entry.seq) != (attempt.epoch, attempt.seq):
                yield "lost", (f"{where} was acknowledged at {attempt.seq} of {attempt.epoch}, and is at {entry.seq} of "
                               f"{entry.epoch}")
            elif entry is not None and attempt.status in CLEAR_REFUSALS and attempt.status not in COME_AGAIN:
                yield "refused", f"{where} was refused with {attempt.status}, and is at {entry.seq}"

    def check_order(self):
        """Within an epoch of a channel, in the order of the ends: each must lie above all that ended before it began."""
        logs = collections.defaultdict(list)
        for attempt in self.acknowledged():
            logs[attempt.channel, attempt.epoch].append(attempt)
        for (channel, _), attempts in logs.items():
            ends = sorted(attempts, key=lambda attempt: attempt.ended)
            highest, at = None, 0
            for attempt in sorted(attempts, key=lambda one: one.began):
                while at < len(ends) and ends[at].ended < attempt.began:
                    highest = max((highest, ends[at]), key=lambda one: one.seq if one else -1)
                    at += 1
                if highest is not None and highest.seq >= attempt.seq:
                    yield "order", (f"{channel}: {attempt.payload!r} got {attempt.seq} although {highest.payload!r} had "
                                    f"{highest.seq} before it began")

    def contents(self):
        """(who says so, channel, epoch, seq, (payload, id, time)) of everything."""
        for attempt in self.acknowledged():
            yield attempt.client, attempt.channel, attempt.epoch, attempt.seq, (attempt.payload, attempt.id, attempt.time)
        for follower, receipts in self.receipts.items():
            for receipt in receipts:
                if receipt.kind == "message":
                    yield (follower, receipt.channel, receipt.epoch, receipt.seq,
                           (receipt.payload, receipt.object["id"], receipt.object["time"]))
        for channel, entries in self.logs.items():
            for entry in entries:
                if entry.kind == "message":
                    yield "the log", channel, entry.epoch, entry.seq, (entry.payload, entry.object["id"], entry.object["time"])

    def check_contents(self):
        known, published = {}, {(attempt.channel, attempt.payload) for attempt in self.attempts}
        for who, channel, epoch, seq, content in self.contents():
            first = known.setdefault((channel, epoch, seq), (who, content))
            if first[1] != content:
                yield "two contents", (f"{channel}, epoch {epoch}, seq {seq}: {first[0]} has {first[1]}, {who} has "
                                       f"{content}")
            if (channel, content[0]) not in published:
                yield "unknown", f"{who} saw {content[0]!r} at {seq} of {channel}, which nobody published"

    def check_followers(self):
        for follower, receipts in self.receipts.items():
            ends = {}
            for receipt in receipts:
                yield from self.check_step(follower, ends.get(receipt.channel), receipt)
                ends[receipt.channel] = receipt
            yield from self.check_whole(follower, ends)
        for follower in set(self.followers_of) - set(self.receipts):
            yield from self.check_whole(follower, {})

    @staticmethod
    def first_of(receipt):
        return receipt.object["from"] if receipt.kind == "gap" else receipt.seq

    @staticmethod
    def end_of(receipt):
        """Behind a gap `ahead` the reader goes on at its beginning (docs/protocol.md, section 2.3)."""
        is_ahead = receipt.kind == "gap" and receipt.object["why"] == "ahead"
        return receipt.object["from"] - 1 if is_ahead else receipt.seq

    def check_step(self, follower, before, receipt):
        where = f"{follower}, {receipt.channel}"
        if receipt.kind == "gap" and receipt.object["why"] == GAP_OF_EPOCH:
            return
        if before is None:
            if self.first_of(receipt) != 1 and receipt.channel in self.followers_of[follower]:
                yield "skipped", f"{where}: began at {self.first_of(receipt)}"
        elif before.epoch != receipt.epoch:
            yield "untold", f"{where}: {receipt.seq} of epoch {receipt.epoch} follows {before.seq} of {before.epoch}"
        elif self.first_of(receipt) <= self.end_of(before):
            yield "again", f"{where}: {self.first_of(receipt)} after {self.end_of(before)}"
        elif self.first_of(receipt) > self.end_of(before) + 1:
            yield "skipped", f"{where}: {self.first_of(receipt)} after {self.end_of(before)}"

    def check_whole(self, follower, ends):
        for channel in self.followers_of[follower]:
            entries, last = self.logs.get(channel, ()), ends.get(channel)
            head = entries[-1].seq if entries else 0
            seen = 0 if last is None else self.end_of(last)
            if seen < head:
                yield "unseen", f"{follower}, {channel}: saw up to {seen} of {head}"
