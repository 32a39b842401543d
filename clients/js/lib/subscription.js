/* subscription.js - one channel as the application sees it: each seq once and in order, one handler call at a time.
 *
 * Two places are kept. `received` is behind the last entry that came from the server; what comes again up to there is
 * dropped. `place` is behind the last entry that the application has handled; it is what is kept, acknowledged, and named to
 * the server when a new link begins. */
import { LongwireError } from './errors.js';

/* Gaps after which a state that is built of messages is no longer right. An expired message was meant to be gone, and of
 * what was collapsed the newest follows. */
const BREAKS_STATE = new Set(['trimmed', 'corrupt', 'epoch', 'ahead']);
const RETRY_POLICY = { firstMs: 500, factor: 2, capMs: 30000 };

/* Behind which seq the server goes on after a gap. */
const endOfGap = gap => gap.why === 'ahead' ? gap.from - 1 : gap.to;
const isBehind = (entry, place) => place.epoch === entry.epoch && entry.seq <= place.seq;

export class Subscription {
    #owner;
    #handler;
    #queue = [];
    #isRunning = false;
    #snapshot = null;         // messages up to this place are part of the application's state
    #passed = [];             // with ack: 'manual': what needs no acknowledgement, behind messages that still do
    #pauses = new Set();      // retries that wait
    #drains = [];             // who waits for the queue to be empty
    #offered = null;          // without a handler: the entry that the iterator hands over next
    #taker = null;            // … and who waits for one; null instead of it: there is none any more
    #told = null;             // the head that this link has told in notify mode

    /* owner: the client, as the functions that it hands in (client.js, #ownerOf). */
    constructor(channel, handler, options, owner) {
        this.channel = channel;
        this.options = options;
        this.#handler = handler;
        this.#owner = owner;
        this.place = null;
        this.received = null;
        this.head = null;
        this.before = null;        // of a group that was left: the subscription of the time before
        this.isClosed = false;
        this.isPrepared = false;   // its place is known, so a link may follow it
        this.ready = new Promise((resolve, reject) => { this.settle = { resolve, reject }; });
        this.ready.catch(() => {});   // who does not look at it has the client's event `error`
    }

    get isManual() {
        return this.options.ack === 'manual';
    }

    /* Before the first link: the kept place, else the application's snapshot, else what the options say. */
    async prepare(kept) {
        if (kept) this.place = this.received = kept;
        else if (this.options.state) await this.#loadState('first');
        this.isPrepared = true;
    }

    /* The place was another user's. One of the application's own snapshot stays. */
    forgetPlace() {
        this.place = this.received = this.#snapshot;
    }

    /* What the server is asked for: behind a place, or by the options. */
    start() {
        const { after, epoch, last } = this.options;
        if (this.place) return { after: this.place.seq, ...(this.place.epoch && { epoch: this.place.epoch }) };
        if (after !== undefined) return { after, ...(epoch && { epoch }) };
        return last !== undefined ? { last } : {};
    }

    /* The server follows the channel, whose last seq is head. From now on means behind this head, also if the link ends
     * before a message comes. With `last` and `after: 0` the first message may stand anywhere, and likewise where a session
     * goes on at its own place. */
    onSubscribed({ epoch, head, after: begin }, isAsked) {
        const { after, last, mode } = this.options;
        this.head = head;
        if (!isAsked && mode === 'notify') this.received ??= { epoch, seq: begin ?? head };   // where pull() begins in a session
        if (isAsked && !this.received && after === undefined && last === undefined) {
            this.place = this.received = { epoch, seq: head };
            this.#owner.begun(this);
        }
        for (const place of [this.place, this.received, this.#snapshot])
            if (place && !place.epoch) place.epoch = epoch;   // of an application that keeps seqs alone
        this.settle.resolve(this);
    }

    /* Takes an entry of the log: a message, a recall, a control message or a gap. False if the server has left out a
     * seq, which means that the link cannot be trusted. */
    take(entry) {
        if (this.isClosed) return true;
        const at = this.#keepsNothing ? null : this.received;
        if (!at && this.#isOfBefore(entry)) return true;
        if (entry.type === 'gap') {
            const end = endOfGap(entry);
            if (at && at.epoch === entry.epoch && entry.why !== 'ahead' && end <= at.seq) return true;
            this.received = { epoch: entry.epoch, seq: end };
        } else {
            if (at && isBehind(entry, at)) return true;
            const isSkipped = at && at.epoch === entry.epoch && entry.seq !== at.seq + 1;
            if (isSkipped && !this.#mayBeSkipped) return false;
            if (isSkipped) this.#enqueue({ type: 'gap', channel: this.channel, epoch: at.epoch, from: at.seq + 1, to: entry.seq - 1, why: 'unfollowed' });
            this.received = { epoch: entry.epoch, seq: entry.seq };
        }
        this.#enqueue(entry);
        this.#run();
        return true;
    }

    /* By conn:KEY a connection is addressed: what came while there was none is not missed. */
    get #keepsNothing() {
        return this.channel.startsWith('conn:');
    }

    /* A group that was left is brought again if the acknowledgement of its last messages was lost. */
    #isOfBefore(entry) {
        const end = entry.type === 'gap' ? { epoch: entry.epoch, seq: endOfGap(entry) } : entry;
        if (!this.before || entry.why === 'ahead' || !isBehind(end, this.before.received)) return false;
        if (this.before.place) this.#owner.moved(this.before);
        return true;
    }

    /* In between the user may have been no member of the group that the session follows. */
    get #mayBeSkipped() {
        return (this.isImplicit || this.isOfSession) && this.channel.startsWith('group:');
    }

    #enqueue(entry) {
        this.#queue.push(entry);
        this.#owner.queued(1);
    }

    /* For entries that have no place in the log: join, leave, notify. */
    tell(entry) {
        const { onPresence, onNotify } = this.options;
        if (entry.type === 'notify') {
            if (this.#told && this.#told.epoch === entry.epoch && this.#told.seq === entry.head) return;
            this.head = entry.head;
            this.#told = { epoch: entry.epoch, seq: entry.head };
            onNotify?.(entry);
        } else {
            onPresence?.(entry);
        }
    }

    /* Behind what this link has told in notify mode, if that lies behind what was received: the next poll asks from there, or it would
     * be told the same at once. */
    get toldPlace() {
        return this.#told && !(this.received && isBehind(this.#told, this.received)) ? this.#told : null;
    }

    /* The next link tells it again. */
    forgetTold() {
        this.#told = null;
    }

    /* Acknowledges all up to this message, or this seq. Only needed with ack: 'manual'. What belongs to an earlier life of
     * the log is no place any more. */
    ack(what) {
        const { epoch } = this.received ?? {};
        const seq = Math.min(typeof what === 'number' ? what : what.seq, this.received?.seq ?? 0);
        if ((what.epoch ?? epoch) !== epoch || (this.place && isBehind({ epoch, seq }, this.place))) return;
        this.#move({ epoch, seq });
        this.#movePassed();
    }

    /* Notify mode: reads what the log holds behind the last message, and hands it to the handler. Resolves when it is handled. */
    async pull() {
        await this.#owner.pull(this);
        await this.drained();
    }

    /* Resolves when all that has come is handled. */
    drained() {
        if (this.#queue.length === 0) return Promise.resolve();
        return new Promise(resolve => this.#drains.push(resolve));
    }

    /* Nothing more is handed to the handler. The place is forgotten. */
    unsubscribe() {
        this.#owner.unsubscribe(this);
    }

    close(error) {
        this.isClosed = true;
        this.#owner.queued(-this.#queue.length);
        this.#queue = [];
        this.#wakeDrains();
        for (const wake of this.#pauses) wake();
        this.settle.reject(error ?? new LongwireError(0, `the subscription of ${this.channel} was ended`));
        this.#taker?.(null);
    }

    /* for await (const message of subscription): for subscriptions without a handler. A message counts as handled when the
     * next one is asked for. Leaving the loop unsubscribes. */
    [Symbol.asyncIterator]() {
        let current = null;
        return {
            next: () => new Promise(resolve => {
                current?.();
                if (this.isClosed) { resolve({ done: true, value: undefined }); return; }
                this.#taker = offered => {
                    current = offered?.done;
                    resolve({ done: !offered, value: offered?.entry });
                };
                this.#handOver();
            }),
            return: async () => {
                this.unsubscribe();
                return { done: true, value: undefined };
            },
        };
    }

    #offer(entry) {
        return new Promise(done => {
            this.#offered = { entry, done };
            this.#handOver();
        });
    }

    #handOver() {
        if (!this.#taker || !this.#offered) return;
        const [taker, offered] = [this.#taker, this.#offered];
        this.#taker = this.#offered = null;
        taker(offered);
    }

    #wakeDrains() {
        for (const wake of this.#drains.splice(0)) wake();
    }

    async #run() {
        if (this.#isRunning) return;
        this.#isRunning = true;
        while (this.#queue.length > 0) {
            const entry = this.#queue[0];
            const done = this.#handle(entry);
            if (done) await done;   // a handler that returns no promise needs no turn of the event loop
            if (this.isClosed) break;
            this.#queue.shift();
            this.#onHandled(entry);
            this.#owner.queued(-1);
        }
        this.#isRunning = false;
        this.#wakeDrains();
    }

    /* Returns a promise if it takes longer. What the application throws is reported, and the same entry is handed over again
     * after a pause: an entry that nobody has handled is not acknowledged, and no later one overtakes it. */
    #handle(entry) {
        try {
            const done = this.#call(entry);
            return done?.then ? done.then(() => {}, error => this.#retry(entry, error, 0)) : null;
        } catch (error) {
            return this.#retry(entry, error, 0);
        }
    }

    #call(entry) {
        if (entry.type === 'gap') return this.#onGap(entry);
        if (this.#isInSnapshot(entry)) return null;
        if (entry.type === 'message' && !entry.recalled) return this.#handler ? this.#handler(entry, this) : this.#offer(entry);
        if (entry.type === 'message' || entry.type === 'recall') return this.options.onRecall?.(entry, this);
        return this.#owner.onControl(entry);
    }

    #isInSnapshot(entry) {
        return this.#snapshot !== null && entry.type !== 'gap' && isBehind(entry, this.#snapshot);
    }

    async #retry(entry, error, tries) {
        for (; !this.isClosed; tries++) {
            this.#owner.report(error, { channel: this.channel, entry, tries: tries + 1 });
            await this.#sleep(RETRY_POLICY.firstMs * RETRY_POLICY.factor ** tries);
            try {
                if (!this.isClosed) await this.#call(entry);
                return;
            } catch (again) {
                error = again;
            }
        }
    }

    #sleep(ms) {
        return new Promise(resolve => {
            const wake = () => { clearTimeout(timer); this.#pauses.delete(wake); resolve(); };
            const timer = setTimeout(wake, Math.min(ms, RETRY_POLICY.capMs));
            this.#pauses.add(wake);
        });
    }

    /* A snapshot that was taken behind the gap heals it. The application is told of a gap that none heals. */
    async #onGap(gap) {
        if (this.options.state && BREAKS_STATE.has(gap.why)) {
            await this.#askState('gap', gap);
            if (this.#snapshot?.epoch === gap.epoch && this.#snapshot.seq >= endOfGap(gap)) return;
        }
        await this.options.onGap?.(gap, this);
    }

    async #loadState(why) {
        for (let tries = 0; !this.isClosed; tries++) {
            try {
                await this.#askState(why);
                if (this.#snapshot) this.place = this.received = this.#snapshot;
                return;
            } catch (error) {
                this.#owner.report(error, { channel: this.channel, tries: tries + 1 });
                await this.#sleep(RETRY_POLICY.firstMs * RETRY_POLICY.factor ** tries);
            }
        }
    }

    /* The callback returns the place, or nothing if the application has none yet. Without an epoch it is that of the gap. */
    async #askState(why, gap) {
        const place = await this.options.state({ channel: this.channel, why, gap });
        if (place === undefined || place === null) { this.#snapshot = null; return; }
        const { seq, epoch } = typeof place === 'number' ? { seq: place } : place;
        if (!Number.isSafeInteger(seq) || seq < 0)
            throw new TypeError(`state() of ${this.channel} must return { epoch, seq }, a seq or nothing, and not ${JSON.stringify(place)}`);
        this.#snapshot = { seq, epoch: epoch ?? gap?.epoch };
    }

    #onHandled(entry) {
        const place = { epoch: entry.epoch, seq: entry.type === 'gap' ? endOfGap(entry) : entry.seq };
        const isForApplication = entry.type === 'message' && !entry.recalled && !this.#isInSnapshot(entry);
        if (!this.isManual) this.#move(place);
        else if (!isForApplication) {
            this.#passed.push({ first: entry.type === 'gap' ? entry.from : entry.seq, place });
            this.#movePassed();
        }
    }

    /* With ack: 'manual' the place goes over what the application is not asked about, once all before it is acknowledged. */
    #movePassed() {
        while (this.#passed.length > 0) {
            const { first, place } = this.#passed[0];
            if (this.place && this.place.epoch === place.epoch && first > this.place.seq + 1) return;
            this.#passed.shift();
            if (!this.place || !isBehind(place, this.place)) this.#move(place);
        }
    }

    #move(place) {
        this.place = place;
        this.#owner.moved(this);
    }
}
