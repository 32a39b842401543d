/* outbox.js - what the application publishes, until the server has answered. Each message has an idempotency key, so it
 * may be sent again on a new link, or by another transport, and is stored once. */
import { LongwireError, reasonOf } from './errors.js';
import { backOffMs, DEFAULT_POLICY } from './back_off.js';
import { authorization, failureOf, messagesUrl } from './http.js';

const WAITING_MAX = 10000;
const TIMEOUT_MS = 60000;
const BYTES_PER_MS = 4;    // the slowest uplink that a message posted by HTTP must get through

/* Must differ from all others, and need not be secret. randomUUID() is only there on pages that came by https; Node.js 18 has no
 * crypto in its global scope. */
function randomKey() {
    const bytes = new Uint8Array(16);
    if (globalThis.crypto) crypto.getRandomValues(bytes);
    else bytes.forEach((_, at) => { bytes[at] = Math.random() * 256; });
    return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

function isBytes(data) {
    return data instanceof ArrayBuffer || ArrayBuffer.isView(data);
}

function bytesOf(data) {
    return data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/* Bytes and values are taken as they are now: what is sent again must be the same, whatever the application has done to them since. */
function payloadOf(channel, data) {
    if (data === undefined) throw new TypeError(`publish to ${channel}: data is undefined`);
    if (isBytes(data)) return { bytes: bytesOf(data).slice() };
    if (typeof data === 'string') return { data };
    const json = JSON.stringify(data);
    if (json === undefined) throw new TypeError(`publish to ${channel}: JSON has no ${typeof data}`);
    return { json };
}

/* As a frame has it: text is text/plain, bytes are octets, any other value is JSON, unless `media` says otherwise. */
function frameOf(channel, data, { media, ttl, key, event, collapseKey, priority }) {
    const payload = payloadOf(channel, data);
    return {
        channel, ...payload, ...(media && { media }), ...(ttl !== undefined && { ttl }), key: key ?? randomKey(),
        ...(event && { event }), ...(collapseKey && { collapse_key: collapseKey }), ...(priority && { priority }),
    };
}

/* A header holds octets, and fetch() takes each character for one: so this is UTF-8 of the text, as in a frame. */
const octetsOf = text => String.fromCharCode(...new TextEncoder().encode(text));

/* The same as an HTTP request. A string is the body itself, also under a JSON media type, as in a frame. */
function requestOf({ data, json, bytes, media, ttl, key, event, collapse_key: collapseKey, priority }) {
    const kind = media ?? (bytes !== undefined ? 'application/octet-stream' : json !== undefined ? 'application/json' : 'text/plain');
    const query = new URLSearchParams({ ...(ttl !== undefined && { ttl }), ...(priority && { priority }) });
    return {
        query: `${query}` === '' ? '' : `?${query}`,
        headers: {
            'Content-Type': kind, 'Idempotency-Key': octetsOf(key), ...(event && { 'Longwire-Event': encodeURIComponent(event) }),
            ...(collapseKey && { 'Collapse-Key': octetsOf(collapseKey) }),
        },
        body: bytes ?? json ?? data,
    };
}

export class Outbox {
    #host;
    #items = new Set();        // in the order of publish()
    #posting = new Set();      // channels of which a message is under way by HTTP
    #pumpTimer = 0;
    #isMixed = false;          // some go by HTTP although there is a link

    /* host: { url(), fetchWithin(), patienceMs, token(), askAgain(), link(), prefersLink(), random() } */
    constructor(host) {
        this.#host = host;
    }

    get size() {
        return this.#items.size;
    }

    /* Resolves with the receipt once the message is stored. */
    add(channel, data, options = {}) {
        const item = { frame: frameOf(channel, data, options), via: options.via, isSent: false, tries: 0, isResting: false };
        if (this.#items.size >= WAITING_MAX)
            throw new LongwireError(429, `${WAITING_MAX} publishes wait for an answer, which is the most; wait for some of them`);
        this.#isMixed ||= item.via === 'http';
        return new Promise((resolve, reject) => {
            Object.assign(item, { resolve, reject });
            item.timer = setTimeout(() => this.#settle(item, new LongwireError(0,
                `the server did not answer in time; the message may be stored, and publishing it again with the key ${item.frame.key} stores it once`,
                { key: item.frame.key })), options.timeoutMs ?? TIMEOUT_MS);
            this.#items.add(item);
            this.pump();
        });
    }

    /* Sends what waits and may go now. Messages of one channel keep their order. */
    pump() {
        const link = this.#host.link();
        const now = performance.now();   // of the whole look: what may not go now has to know when it may
        const held = new Set();    // channels of which an earlier message waits
        for (const item of this.#items) {
            const { channel } = item.frame;
            if (!this.#isMixed && this.#host.prefersLink() && !link?.canPublish(now)) { this.#pumpLater(link, now); return; }
            if (!item.isSent && !held.has(channel) && !item.isResting) this.#send(item, link, now);
            if (!item.isSent) held.add(channel);
        }
        if (held.size > 0) this.#pumpLater(link, now);
    }

    #pumpLater(link, now) {
        const ms = link?.publishRestMs?.(now) ?? 0;
        clearTimeout(this.#pumpTimer);
        if (ms > 0) this.#pumpTimer = setTimeout(() => this.pump(), ms);
    }

    #send(item, link, now) {
        if (item.via !== 'http' && this.#host.prefersLink()) {
            if (!link?.canPublish(now)) return;
            item.isSent = true;
            try {
                link.publish(item, now);
            } catch (error) {
                this.#settle(item, error);   // no frame can say it
            }
        } else if (!this.#posting.has(item.frame.channel)) {
            item.isSent = true;
            this.#post(item);
        }
    }

    /* The link is gone, and what it had been given has no answer. */
    onLinkLost() {
        for (const item of this.#items) if (!item.isPosted) item.isSent = false;
        this.pump();
    }

    published(item, { type: _type, ref: _ref, ...receipt }) {
        this.#settle(item, null, receipt);
        this.pump();
    }

    /* What may succeed later is sent again, after a pause, until its time is up. */
    refused(item, error) {
        if (error.isFinal) this.#settle(item, error);
        else this.#again(item, error);
        this.pump();
    }

    close() {
        clearTimeout(this.#pumpTimer);
        for (const item of this.#items)
            this.#settle(item, new LongwireError(0, 'the client was closed before the server answered', { key: item.frame.key }));
    }

    async #post(item) {
        const { channel } = item.frame;
        let request;
        try {
            request = requestOf(item.frame);
            new Headers(request.headers);
        } catch (error) {
            this.#settle(item, error);   // no header can say it
            return;
        }
        const { query, headers, body } = request;
        this.#posting.add(channel);
        item.isPosted = true;
        try {
            const ms = this.#host.patienceMs + Math.ceil((body.byteLength ?? body.length) / BYTES_PER_MS);
            const answer = await this.#host.fetchWithin(ms, messagesUrl(this.#host.url(), channel) + query, {
                method: 'POST', headers: { ...headers, ...authorization(await this.#host.token()) }, body,
            });
            if (!answer.ok) throw await failureOf(answer);
            const replayed = answer.headers.get('Idempotency-Replayed') === 'true';
            this.#settle(item, null, { ...await answer.json(), ...(replayed && { replayed }) });
        } catch (error) {
            if (error.code === 401 && this.#host.askAgain()) item.isSent = false;
            else if (error instanceof LongwireError && error.isFinal) this.#settle(item, error);
            else this.#again(item, error instanceof LongwireError ? error : new LongwireError(0, reasonOf(error)));
        } finally {
            this.#posting.delete(channel);
            item.isPosted = false;
            this.pump();
        }
    }

    #again(item, error) {
        // What a limit has refused goes again when the server says so, however often that is.
        const tries = error.isOfLimit ? 0 : item.tries++;
        const ms = backOffMs(DEFAULT_POLICY, tries, error.leastMs ?? 0, this.#host.random());
        item.isSent = false;
        item.isResting = true;
        item.again = setTimeout(() => { item.isResting = false; this.pump(); }, ms);
    }

    #settle(item, error, receipt) {
        clearTimeout(item.timer);
        clearTimeout(item.again);
        if (!this.#items.delete(item)) return;
        if (error) item.reject(error);
        else item.resolve(receipt);
    }
}
