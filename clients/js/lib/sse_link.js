/* sse_link.js - Server-Sent Events, read by fetch: EventSource can set no headers, shows no status, and is not there in
 * Node.js. A slow application slows the stream, because the next bytes are read when there is room for them. */
import { LongwireError, REPLACED, errorOfClose } from './errors.js';
import { EventStreamReader } from './event_stream.js';
import { authorization, failureOf, withBytes } from './http.js';
import { poll } from './poll_link.js';

export class SseLink {
    static transport = 'sse';
    #host;
    #token;
    #abort = new AbortController();
    #watch = 0;
    #why = null;

    constructor(host, token) {
        this.#host = host;
        this.#token = token;
        this.#run().catch(error => {
            clearTimeout(this.#watch);
            if (this.#abort.signal.aborted && !this.#why) return;
            this.#host.failed(this.#why ?? error);
        });
    }

    close() {
        clearTimeout(this.#watch);
        this.#abort.abort();
    }

    /* A stream's channels are fixed when it begins. */
    changed() {
        this.#fail(new LongwireError(0, 'the channels have changed', { isOurs: true }));
    }

    /* A fresh token needs a new request. */
    renew() {
        this.#fail(new LongwireError(0, 'the token was renewed', { isOurs: true }));
    }

    check() {}

    async #run() {
        await this.#host.settle(this.#token, this.#abort.signal);
        if (this.#host.needsCursor()) {
            const { messages, cursor } = await poll(this.#host, this.#token, 0, this.#abort.signal);
            if (this.#abort.signal.aborted) return;
            this.#host.onCursor(cursor, messages);
            for (const entry of messages) this.#host.take(withBytes(entry));
        }
        // A proxy that holds the stream back is found out by this.
        this.#expect(this.#host.times.patienceMs, 'the event stream brought nothing: something on the way may hold it back');
        const answer = await this.#host.fetch(`${this.#host.url}/v1/subscribe${this.#host.query()}`, {
            method: 'POST', cache: 'no-store', signal: this.#abort.signal,
            headers: { Accept: 'text/event-stream', 'Content-Type': 'application/json', ...authorization(this.#token) },
            body: JSON.stringify(this.#host.request()),
        });
        if (!answer.ok) throw await failureOf(answer);
        if (answer.status === 204) throw errorOfClose(REPLACED.code, REPLACED.reason);
        if (!answer.body?.getReader) throw new LongwireError(0, 'fetch gives no streams here');
        await this.#read(answer.body.getReader());
    }

    async #read(bytes) {
        const events = new EventStreamReader();
        let isLive = false;
        for (;;) {
            const room = this.#host.room();
            if (room) {
                clearTimeout(this.#watch);
                await room;
                this.#expect(this.#host.times.silenceMs, 'the server went silent');
            }
            const { done, value } = await bytes.read();
            if (this.#abort.signal.aborted) throw new Error('closed');
            if (done) throw new LongwireError(0, 'the event stream has ended', { leastMs: events.retryMs ?? 0 });
            this.#expect(this.#host.times.silenceMs, 'the server went silent');
            if (!isLive) {
                isLive = true;
                this.#host.live();
            }
            for (const event of events.feed(value)) this.#onEvent(event);
            if (this.#abort.signal.aborted) throw new Error('closed');   // a read after an abort may never end
        }
    }

    #onEvent({ data, id }) {
        const entry = JSON.parse(data);
        switch (entry.type) {
        case 'cursor': break;
        case 'closing': this.#fail(errorOfClose(entry.code, entry.reason)); break;
        case 'replaced': this.#fail(errorOfClose(REPLACED.code, REPLACED.reason)); break;
        case 'expiring': this.#host.onExpiring(entry); break;
        default: this.#host.take(withBytes(entry));
        }
        this.#host.onEventId(id);
    }

    #expect(ms, why) {
        clearTimeout(this.#watch);
        this.#watch = setTimeout(() => this.#fail(new LongwireError(0, why)), ms);
    }

    #fail(error) {
        this.#why ??= error;
        clearTimeout(this.#watch);
        this.#abort.abort();
    }
}
