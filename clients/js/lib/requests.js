/* requests.js - requests to back ends: what fetch() has asked, until its response has come. Each has an id, so it may be sent again
 * on a new link, by another transport, or by the page that is loaded next, and the back end is called once (or as the route of the
 * server says). */
import { LongwireError, reasonOf } from './errors.js';
import { backOffMs, DEFAULT_POLICY } from './back_off.js';
import { authorization, base64OfBytes, bytesOfBase64, failureOf } from './http.js';

const WAITING_MAX = 1000;
const POSTING_MAX = 4;              // by HTTP at a time; a browser has six connections for a server
const POST_WAIT_S = 25;
const KEPT_BYTES_MAX = 256 * 1024;  // of a body that outlives the page
const KEPT_MAX = 100;
const NO_PLACE = 'http://longwire.invalid';
const JSON_MEDIA = /^application\/(json|[^;]+\+json)\s*(;|$)/i;
const BODILESS = new Set([204, 205, 304]);
const HTTP_LATE_MS = 10000;
const EARLY_MS = POST_WAIT_S * 1000 / 2;   // whoever says sooner that a request is accepted does not wait for its response
const REPLAYS_MAX = 1000;           // responses that were told because they were repeated, and may come once more from their log

function randomId() {
    const bytes = new Uint8Array(16);
    if (globalThis.crypto) crypto.getRandomValues(bytes);
    else bytes.forEach((_, at) => { bytes[at] = Math.random() * 256; });
    return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

/* A Request of the platform → what a frame says. */
async function frameOf(request, { id, timeoutMs }) {
    const { pathname, search } = new URL(request.url);
    const bytes = request.body === null ? new Uint8Array(0) : new Uint8Array(await request.arrayBuffer());
    const headers = Object.fromEntries(request.headers);
    return {
        id: id ?? randomId(), method: request.method, path: pathname + search,
        ...(Object.keys(headers).length > 0 && { headers }), ...(bytes.length > 0 && { bytes }), ...(timeoutMs && { timeout_ms: timeoutMs }),
    };
}

const closed = id => new LongwireError(0, 'the client was closed before the response came', { id });

/* The same as JSON. */
const asJson = ({ bytes, ...frame }) => ({ ...frame, ...(bytes && { body_base64: base64OfBytes(bytes) }) });
const asFrame = ({ body_base64: base64, ...frame }) => ({ ...frame, ...(base64 !== undefined && { bytes: bytesOfBase64(base64) }) });

/* A string is text, unless the media type says that it is a value of JSON. */
function bodyOf({ headers = {}, body, body_base64: base64 }) {
    if (base64 !== undefined) return bytesOfBase64(base64);
    if (body === undefined) return null;
    const [, media = ''] = Object.entries(headers).find(([name]) => name.toLowerCase() === 'content-type') ?? [];
    return typeof body === 'string' && !JSON_MEDIA.test(media) ? body : JSON.stringify(body);
}

function responseOf({ frame: { id }, url }, message) {
    const { status, headers, replayed = false } = message;
    const response = new Response(BODILESS.has(status) ? null : bodyOf(message), { status, headers });
    return Object.defineProperties(response, { url: { value: url }, id: { value: id }, replayed: { value: replayed } });
}

export class Requests {
    #host;
    #items = new Map();     // id → what has no response, in the order of fetch()
    #posting = 0;
    #replays = new Set();
    #closings = 0;

    /* host: { link(), prefersLink(), isOpen(), outlivesLink(), url(), query(), device(), fetch(), token(), askAgain(), keep(kept), answered(message), random() } */
    constructor(host) {
        this.#host = host;
    }

    /* As fetch() of the platform: input and init are its own. Beside them `id`, and `timeoutMs` for the back end. */
    async fetch(input, init = {}) {
        const request = typeof input === 'object' && 'arrayBuffer' in input ? new Request(input, init) : new Request(new URL(input, NO_PLACE), init);
        const closings = this.#closings;
        request.signal.throwIfAborted();
        if (closings > 0 && !this.#host.isOpen()) throw closed(init.id);
        const frame = await frameOf(request, init);
        request.signal.throwIfAborted();
        if (closings !== this.#closings) throw closed(frame.id);
        return this.#add(frame, request);
    }

    /* Of a page before this one, without a response: they are sent again, and whoever calls fetch() with the id of one gets its
     * response. */
    restore(kept = []) {
        for (const frame of kept) if (!this.#items.has(frame.id)) this.#items.set(frame.id, { frame: asFrame(frame), isOrphan: true, tries: 0 });
    }

    /* They are of another user. */
    forgetKept() {
        for (const [id, { isOrphan }] of this.#items) if (isOrphan) this.#items.delete(id);
        this.#keep();
    }

    get unanswered() {
        return [...this.#items.values()].map(({ frame: { id, method, path } }) => ({ id, method, path }));
    }

    #add(frame, { signal, url }) {
        const known = this.#items.get(frame.id);
        if (known && !known.isOrphan) throw new LongwireError(409, `a request with the id ${frame.id} waits for its response already`, { id: frame.id });
        if (this.#items.size >= WAITING_MAX) throw new LongwireError(429, `${WAITING_MAX} requests wait for a response, which is the most; wait for some of them`);
        const item = Object.assign(known ?? { frame, tries: 0 }, { isOrphan: false, url: url.startsWith(NO_PLACE) ? '' : url });
        this.#items.set(frame.id, item);
        this.#keep();
        return new Promise((resolve, reject) => {
            const onAbort = () => this.#abort(item, signal.reason);
            signal.addEventListener('abort', onAbort);
            Object.assign(item, { resolve, reject, forget: () => signal.removeEventListener('abort', onAbort) });
            this.pump();
        });
    }

    #abort(item, reason) {
        if (item.isSent) this.#host.link()?.cancel?.(item.frame.id);
        this.#settle(item, () => item.reject(reason));
    }

    /* Sends what waits and may go now. */
    pump() {
        if (!this.#host.isOpen()) return;
        for (const item of this.#items.values()) {
            if (item.isSent || item.isResting) continue;
            if (!this.#host.prefersLink()) this.#post(item);
            else if (this.#host.link()?.canRequest) this.#send(item);
        }
    }

    #send(item) {
        item.isSent = true;
        item.isAccepted = false;
        this.#host.link().request(item);
    }

    /* The link is gone. What it had been given is sent again, unless the response was to come by that link alone. */
    onLinkLost() {
        for (const item of this.#items.values()) {
            if (item.isPosted) continue;
            if (item.isAccepted && !item.outlivesLink)
                this.#fail(item, new LongwireError(0, 'the link was lost, and with it the response: this client is no device of a user', { id: item.frame.id }));
            item.isSent = item.isAccepted = false;
        }
        this.pump();
    }

    accepted({ id }) {
        const item = this.#items.get(id);
        if (item) Object.assign(item, { isAccepted: true, outlivesLink: this.#host.outlivesLink() });
        this.pump();
    }

    refused(item, error) {
        if (error.isFinal) this.#fail(item, Object.assign(error, { id: item.frame.id }));
        else this.#again(item, error);
        this.pump();
    }

    /* A message `response`, from whatever log, or a replay. true: it is told, here or before, and is no event of the log any more. */
    take(message) {
        const item = this.#items.get(message.request), place = `${message.epoch} ${message.seq}`;
        if (!item) return !message.replayed && this.#replays.delete(place);
        if (message.replayed || item.isPosted) this.#replays.add(place);
        if (this.#replays.size > REPLAYS_MAX) this.#replays.delete(this.#replays.values().next().value);
        this.#settle(item, () => {
            try {
                item.resolve?.(responseOf(item, message));
            } catch (error) {
                item.reject(new LongwireError(0, `the response can't be used: ${error.message}`, { id: item.frame.id }));
            }
        });
        if (item.isOrphan) this.#host.answered(message);
        return true;
    }

    close() {
        this.#closings++;
        for (const item of [...this.#items.values()]) this.#fail(item, closed(item.frame.id));
    }

    /* By HTTP the request is asked again and again with its id, until it is answered, or nobody waits for it any more. */
    async #post(item) {
        if (this.#posting >= POSTING_MAX) return;
        this.#posting++;
        item.isSent = item.isPosted = true;
        const device = this.#host.device();
        const began = performance.now();
        const ending = item.ending = new AbortController();
        try {
            const answer = await this.#host.fetch(POST_WAIT_S * 1000 + HTTP_LATE_MS, `${this.#host.url()}/v1/request${this.#host.query()}`, {
                method: 'POST', signal: ending.signal, body: JSON.stringify({ ...asJson(item.frame), ...(device && { device }) }), cache: 'no-store',
                headers: { 'Content-Type': 'application/json', Prefer: `wait=${POST_WAIT_S}`, ...authorization(await this.#host.token()) },
            });
            if (!answer.ok) throw await failureOf(answer);
            if (answer.status === 200) this.take(await answer.json());
            else if (performance.now() - began < EARLY_MS) this.#again(item, {});
        } catch (error) {
            if (ending.signal.aborted || (error.code === 401 && this.#host.askAgain())) return;
            this.refused(item, error instanceof LongwireError ? error : new LongwireError(0, reasonOf(error)));
        } finally {
            item.isSent = item.isPosted = false;
            item.ending = null;
            this.#posting--;
            this.pump();
        }
    }

    #again(item, error) {
        const ms = backOffMs(DEFAULT_POLICY, item.tries++, error.leastMs ?? 0, this.#host.random());
        item.isSent = false;
        item.isResting = true;
        item.again = setTimeout(() => { item.isResting = false; this.pump(); }, ms);
    }

    #fail(item, error) {
        this.#settle(item, () => item.reject?.(error));
    }

    #settle(item, tell) {
        clearTimeout(item.again);
        if (this.#items.get(item.frame.id) !== item) return;
        this.#items.delete(item.frame.id);
        item.ending?.abort();
        item.forget?.();
        this.#keep();
        tell();
    }

    #keep() {
        const small = [...this.#items.values()].filter(({ frame: { bytes } }) => (bytes?.length ?? 0) <= KEPT_BYTES_MAX);
        this.#host.keep(small.slice(-KEPT_MAX).map(({ frame }) => asJson(frame)));
    }
}
