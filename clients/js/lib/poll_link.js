/* poll_link.js - long polls: each asks from the place where the last one ended. Also the first request of an event stream,
 * which tells the places of channels that are followed from now on. */
import { LongwireError } from './errors.js';
import { authorization, failureOf, withBytes } from './http.js';


/* One poll. Resolves with what the server answered. */
export async function poll(host, token, waitS, signal) {
    const alarm = new AbortController();
    const timer = setTimeout(() => alarm.abort(), waitS * 1000 + host.times.patienceMs);
    const end = () => alarm.abort();
    signal.addEventListener('abort', end);
    try {
        const answer = await host.fetch(`${host.url}/v1/subscribe${host.query()}`, {
            method: 'POST', cache: 'no-store', signal: alarm.signal,
            headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...authorization(token) },
            body: JSON.stringify({ ...host.request(), wait: waitS }),
        });
        if (!answer.ok) throw await failureOf(answer);
        return await answer.json();
    } catch (error) {
        if (alarm.signal.aborted && !signal.aborted) throw new LongwireError(0, 'the server did not answer in time');
        throw error;
    } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
    }
}

export class PollLink {
    static transport = 'poll';
    #host;
    #token;
    #abort = new AbortController();
    #turn = null;          // the request under way
    #isLive = false;

    constructor(host, token) {
        this.#host = host;
        this.#token = token;
        this.#run();
    }

    close() {
        this.#abort.abort();
        this.#turn?.abort();
    }

    /* The set of channels has changed: what is asked for now is asked for anew. */
    changed() {
        this.#turn?.abort();
    }

    /* The next request has the fresh token. */
    renew(token) {
        this.#token = token;
    }

    check() {}   // a poll that is not answered in time ends by itself

    async #run() {
        while (!this.#abort.signal.aborted) {
            try {
                await this.#host.room();
                if (this.#abort.signal.aborted) return;
                await this.#once();
            } catch (error) {
                if (this.#abort.signal.aborted) return;
                if (error.name !== 'AbortError') { this.#host.failed(error); return; }
            }
        }
    }

    async #once() {
        this.#turn = new AbortController();
        const { signal } = this.#turn;
        await this.#host.settle(this.#token, signal);
        if (signal.aborted) return;
        const { messages, cursor } = await poll(this.#host, this.#token, this.#isLive ? this.#host.times.pollWaitS : 0, signal);
        if (signal.aborted) return;   // what comes after a cut was not received
        this.#host.onCursor(cursor, messages);
        if (!this.#isLive) {
            this.#isLive = true;
            this.#host.live();
        }
        for (const entry of messages) this.#host.take(withBytes(entry));
    }
}
