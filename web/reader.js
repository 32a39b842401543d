/* reader.js - a small, complete client of Longwire: follows channels over one of three transports, notices when the link
 * is lost, reconnects with growing pauses, and goes on exactly where it was.
 *
 *     const reader = new Reader({ channels: ['topic:demo'], start: { last: 10 }, transport: 'websocket' });
 *     reader.addEventListener('entry', ({ detail }) => console.log(detail.type, detail.seq, detail.data));
 *     reader.addEventListener('state', ({ detail }) => console.log(detail.name, detail.why));
 *     reader.open();
 *
 * The one idea: a channel is a log and we are a place in it. All that a client has to remember is that place:
 * (epoch, seq) for each channel, or one cursor for all of them. Whatever happens to links, it names its place and gets
 * what comes next; if the server no longer has that, it says so with a gap. */

/* The address of the API: where this file comes from, without a slash at the end. Behind a proxy it may have a path. */
export const HERE = new URL('.', import.meta.url).href.replace(/\/$/, '');

const BACK_OFF = { firstMs: 500, factor: 2, capMs: 15000 };
const POLL_WAIT_S = 25;
const PATIENCE_MS = 10000;   // how late an answer may be before the link counts as dead
const PROTOCOL = 'longwire.json.v1';

/* A repeated request would be refused again: no such namespace, no right to read. */
class Refused extends Error {}

export class Reader extends EventTarget {
    #link = null;
    #timer = 0;
    #failures = 0;

    /* start: {} from now on, { last: n }, or { after: seq }, 0 for the first message kept. */
    constructor({ server = HERE, channels, start = {}, transport = 'websocket', key = '' }) {
        super();
        Object.assign(this, { server, channels, start, transport, key });
        this.places = new Map();   // channel → { epoch, seq } of the last we have
        this.cursor = null;        // the same for all channels at once; only from transports over HTTP
        this.state = { name: 'stopped', why: '' };
    }

    open() {
        this.#leave();
        this.#enter('connecting');
        this.#link = new TRANSPORTS[this.transport](this, {
            live: () => this.#onLive(),
            lost: (why, leastMs) => this.#onLost(why, leastMs),
            refused: why => this.close(why),
        });
    }

    close(why = '') {
        this.#leave();
        this.#enter('stopped', { why });
    }

    /* Closes the link now and reconnects only after a while. */
    drop(awayMs) {
        this.#leave();
        this.#stayAway(awayMs, 'the link was dropped');
    }

    /* Places are the same on every transport, so nothing is lost or doubled on the way from one to another. */
    switchTo(transport) {
        this.transport = transport;
        if (this.state.name === 'connecting' || this.state.name === 'live')
            this.open();
    }

    /* A link hands in what came: a message, a recall or a gap. The place is updated first, then the event is sent. */
    take(entry) {
        // The server has less than we asked for: it goes on from what it has, just before the gap.
        const seq = entry.type !== 'gap' ? entry.seq : entry.why === 'ahead' ? entry.from - 1 : entry.to;
        this.places.set(entry.channel, { epoch: entry.epoch, seq });
        this.cursor = null;
        this.dispatchEvent(new CustomEvent('entry', { detail: entry }));
    }

    /* What the server should send first of this channel, as a frame says it. */
    whereIn(channel) {
        const place = this.places.get(channel);
        return place ? { after: place.seq, epoch: place.epoch } : this.start;
    }

    /* The same for a URL: every channel with its place, or the channels and the cursor if we have one. A cursor of many
     * channels holds their places and not their names. */
    query(more = {}) {
        const query = new URLSearchParams();
        for (const channel of this.channels) {
            const { after, last } = this.cursor ? {} : this.whereIn(channel);
            if (after !== undefined) query.append('after', `${channel}@${after}`);
            else if (last !== undefined) query.append('last', `${channel}@${last}`);
            else query.append('channel', channel);
        }
        if (this.cursor) query.set('cursor', this.cursor);
        for (const [name, value] of Object.entries(more)) query.set(name, value);
        return query;
    }

    /* One long poll: takes what it brings, remembers the cursor. wait 0 answers at once, perhaps with nothing. */
    async poll(wait, signal) {
        const answer = await fetch(`${this.server}/v1/subscribe?${this.query({ wait })}`, {
            headers: { Accept: 'application/json', ...authorization(this.key) }, cache: 'no-store', signal,
        });
        if (!answer.ok) throw await failure(answer);
        const { messages, cursor } = await answer.json();
        if (signal.aborted) return;   // what comes after a cut was not received
        messages.forEach(entry => this.take(entry));
        this.cursor = cursor;
    }

    #onLive() {
        this.#failures = 0;
        this.#enter('live');
    }

    /* leastMs: what the server asks for, if it asks. */
    #onLost(why, leastMs = 0) {
        this.#leave();
        const ceiling = Math.min(BACK_OFF.capMs, BACK_OFF.firstMs * BACK_OFF.factor ** this.#failures++);
        // Half of the pause is chance: a thousand clients that lost one server don't come back in one instant.
        this.#stayAway(Math.max(leastMs, ceiling * (0.5 + Math.random() / 2)), why);
    }

    #stayAway(ms, why) {
        this.#enter('away', { why, until: Date.now() + ms });
        this.#timer = setTimeout(() => this.open(), ms);
    }

    /* Events of a link that was closed are ignored. */
    #leave() {
        clearTimeout(this.#timer);
        this.#link?.close();
        this.#link = null;
    }

    #enter(name, more = {}) {
        this.state = { name, why: '', ...more };
        this.dispatchEvent(new CustomEvent('state', { detail: this.state }));
    }
}

/* --- transports: each begins in its constructor, says live, then lost or refused once, and is silent after close()  */

/* Frames of JSON both ways. Channels are named in frames, so the key need not stand in a URL. */
class WebSocketLink {
    #socket;
    #on;
    #watch = 0;
    #expected;   // channels that have not said `subscribed`

    constructor(reader, on) {
        this.#on = on;
        this.#expected = new Set(reader.channels);
        this.#socket = new WebSocket(`${reader.server.replace(/^http/, 'ws')}/v1/ws`, PROTOCOL);
        this.#socket.onopen = () => this.#greet(reader);
        this.#socket.onmessage = event => this.#onFrame(reader, JSON.parse(event.data));
        this.#socket.onclose = event => this.#end('lost', event.reason || 'the connection was lost');
    }

    close() {
        clearTimeout(this.#watch);
        this.#on = {};
        this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
        this.#socket.close();
    }

    #say(frame) {
        this.#socket.send(JSON.stringify(frame));
    }

    #greet(reader) {
        if (reader.key) this.#say({ type: 'connect', token: reader.key });
        for (const channel of reader.channels)
            this.#say({ type: 'subscribe', channel, ...reader.whereIn(channel) });
    }

    #onFrame(reader, frame) {
        if (frame.type === 'connected') this.heartbeatMs = frame.heartbeat * 1000;
        this.#listen();
        switch (frame.type) {
        case 'message': case 'recall': case 'gap':
            reader.take(frame);
            break;
        case 'subscribed':
            this.#onSubscribed(reader, frame);
            break;
        case 'reconnect':
            this.#end('lost', 'the server asked us to come again', frame.after);
            break;
        case 'error':
            this.#end(isFinal(frame.code) ? 'refused' : 'lost', frame.reason);
            break;
        }
    }

    /* From now on means from this head on, also if the link goes before the first message comes. */
    #onSubscribed(reader, { channel, epoch, head }) {
        const { after, last } = reader.start;
        if (!reader.places.has(channel))
            reader.places.set(channel, { epoch, seq: after ?? Math.max(0, head - (last ?? 0)) });
        this.#expected.delete(channel);
        if (this.#expected.size === 0) this.#on.live?.();
    }

    /* A browser doesn't show us the server's pings, and a dead link can look alive for minutes: when nothing was heard
     * for a heartbeat we ask, and when there's no answer either, the link is dead. */
    #listen() {
        clearTimeout(this.#watch);
        this.#watch = setTimeout(() => {
            this.#say({ type: 'ping' });
            this.#watch = setTimeout(() => this.#end('lost', 'the server went silent'), PATIENCE_MS);
        }, this.heartbeatMs);
    }

    #end(how, ...words) {
        const tell = this.#on[how];
        this.close();
        tell?.(...words);
    }
}

/* The browser's EventSource. It could reconnect by itself; the Reader does it instead, so that all transports keep the
 * same pauses. */
class EventSourceLink {
    #source = null;
    #on;
    #abort = new AbortController();

    constructor(reader, on) {
        this.#on = on;
        this.#open(reader).catch(error => tellError(this.#on, error));
    }

    close() {
        this.#on = {};
        this.#abort.abort();
        this.#source?.close();
    }

    /* Without a cursor a poll goes first, because an EventSource doesn't show the id of an event without data, and we
     * want to know our place even if nothing comes before the link goes. */
    async #open(reader) {
        if (!reader.cursor) await reader.poll(0, this.#abort.signal);
        if (this.#abort.signal.aborted) return;
        const credential = reader.key ? { access_token: reader.key } : {};   // EventSource can't send headers
        this.#source = new EventSource(`${reader.server}/v1/subscribe?${reader.query(credential)}`);
        this.#source.onopen = () => this.#on.live?.();
        this.#source.onmessage = event => this.#onEvent(reader, event);
        this.#source.addEventListener('gap', event => this.#onEvent(reader, event));
        this.#source.onerror = () => this.#onError(reader).catch(error => tellError(this.#on, error));
    }

    /* An EventSource doesn't show why it was refused either; a poll gets the reason. */
    async #onError(reader) {
        this.#source.close();
        await reader.poll(0, this.#abort.signal);
        this.#on.lost?.('the stream was lost');
    }

    #onEvent(reader, event) {
        reader.take(JSON.parse(event.data));
        reader.cursor = event.lastEventId;
    }
}

/* Long polls: each asks from the place where the last one ended. */
class LongPollLink {
    #on;
    #abort = new AbortController();

    constructor(reader, on) {
        this.#on = on;
        this.#run(reader).catch(error => tellError(this.#on, error));
    }

    close() {
        this.#on = {};
        this.#abort.abort();
    }

    async #run(reader) {
        await reader.poll(0, this.#abort.signal);   // answers at once whether we may read, and with our place
        this.#on.live?.();
        while (!this.#abort.signal.aborted) {
            const alarm = setTimeout(() => this.#on.lost?.('the server went silent'), POLL_WAIT_S * 1000 + PATIENCE_MS);
            await reader.poll(POLL_WAIT_S, this.#abort.signal).finally(() => clearTimeout(alarm));
        }
    }
}

const TRANSPORTS = { websocket: WebSocketLink, sse: EventSourceLink, poll: LongPollLink };

/* --- what publishing and reading share -------------------------------------------------------------------------- */

/* Resolves with the receipt once the message is durable. Send a key, and a repeat of the call stores nothing twice. */
export async function publish({ server = HERE, channel, payload, media = 'text/plain', key = '', once }) {
    const answer = await fetch(messagesUrl(server, channel), {
        method: 'POST',
        headers: { 'Content-Type': media, ...(once && { 'Idempotency-Key': once }), ...authorization(key) },
        body: payload,
    });
    if (!answer.ok) throw await failure(answer);
    return answer.json();
}

export async function recall({ server = HERE, channel, seq, key = '' }) {
    const answer = await fetch(`${messagesUrl(server, channel)}/${seq}`, {
        method: 'DELETE', headers: authorization(key),
    });
    if (!answer.ok) throw await failure(answer);
}

/* The last seq of a channel; 0 if nothing was ever published there. Before the first message there is nothing, so no
 * payload comes along. */
export async function headOf({ server = HERE, channel, key = '' }) {
    const answer = await fetch(`${messagesUrl(server, channel)}?before=1`, { headers: authorization(key) });
    if (!answer.ok) throw await failure(answer);
    return (await answer.json()).head;
}

export function messagesUrl(server, channel) {
    return `${server}/v1/channels/${encodeURIComponent(channel)}/messages`;
}

function authorization(key) {
    return key ? { Authorization: `Bearer ${key}` } : {};
}

/* 4xx means that the request is wrong, except 408 and 429, which mean that it came at a bad time. */
function isFinal(status) {
    return status >= 400 && status < 500 && status !== 408 && status !== 429;
}

/* Errors are problem+json (RFC 9457): `detail` is for people. */
async function failure(answer) {
    const problem = await answer.json().catch(() => ({}));
    const why = problem.detail ?? problem.title ?? `the server answered ${answer.status}`;
    const error = isFinal(answer.status) ? new Refused(why) : new Error(why);
    error.leastMs = (Number(answer.headers.get('Retry-After')) || 0) * 1000;
    return error;
}

/* fetch throws a TypeError when the server can't be reached; its words differ from browser to browser. */
function tellError(on, error) {
    if (error instanceof Refused) on.refused?.(error.message);
    else on.lost?.(error instanceof TypeError ? 'the server is not there' : error.message, error.leastMs);
}
