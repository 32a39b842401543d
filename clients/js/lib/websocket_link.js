/* websocket_link.js - frames both ways. Channels, tokens and publishes all travel in frames, so nothing secret stands in a
 * URL. */
import { LongwireError } from './errors.js';
import { webSocketUrl } from './http.js';

const IN_FLIGHT_MAX = 64;    // publishes; the server takes 256
const HEARTBEAT_S = 25;      // until the server has told its own

/* What the close codes of the server mean (docs/protocol.md). The others say: come again. */
const FINAL_CLOSES = { 1002: 400, 1003: 400, 1007: 400, 4001: 409, 4004: 401 };

export const JSON_CODEC = {
    protocol: 'longwire.json.v1',
    encode: frame => JSON.stringify(frame),
    decode: data => [JSON.parse(data)],
};

export class WebSocketLink {
    static transport = 'websocket';
    #host;
    #token;
    #socket;
    #codec = JSON_CODEC;
    #watch = 0;
    #heartbeatMs = HEARTBEAT_S * 1000;
    #isLive = false;
    #expected = new Set();       // channels that have not been answered
    #questions = new Map();      // ref → what the answer is for
    #lastRef = 0;
    #inFlight = 0;
    #closing = null;             // what the server said before it closes

    constructor(host, token, WebSocket) {
        this.#host = host;
        this.#token = token;
        this.#socket = new WebSocket(`${webSocketUrl(host.url)}/v1/ws`, [JSON_CODEC.protocol]);
        this.#socket.binaryType = 'arraybuffer';
        this.#socket.onopen = () => this.#greet();
        this.#socket.onmessage = event => this.#onData(event.data);
        this.#socket.onclose = event => this.#onClose(event);
        this.#socket.onerror = () => {};   // `close` follows, and says more
        // A proxy that lets nothing through is found out by this.
        this.#alarm(this.#host.times.patienceMs, 'the WebSocket brought nothing: something on the way may hold it back');
    }

    close() {
        clearTimeout(this.#watch);
        this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
        this.#socket.close(1000);
    }

    add(subscription) {
        if (this.#isGreeted) this.#subscribe(subscription);
    }

    remove(channel) {
        if (this.#isGreeted) this.#say({ type: 'unsubscribe', channel });
    }

    get #isGreeted() {
        return this.#socket.readyState === 1 && this.connected !== undefined;
    }

    /* Is anybody there? Asked when a page comes to the front, or the network has changed. */
    check() {
        if (!this.#isLive) return;
        this.#say({ type: 'ping' });
        this.#alarm(this.#host.times.patienceMs, 'the server did not answer');
    }

    acknowledge(channel, place) {
        this.#say({ type: 'ack', channel, seq: place.seq });
    }

    read(channel, seq) {
        return new Promise((resolve, reject) => {
            const ref = this.#ask({ read: channel, resolve, reject });
            this.#say({ type: 'read', channel, seq, ref });
        });
    }

    get canPublish() {
        return this.#isLive && this.#inFlight < IN_FLIGHT_MAX;
    }

    publish(item) {
        this.#inFlight++;
        const ref = this.#ask({ item });
        this.#say({ type: 'publish', ...item.frame, ref });
    }

    /* A fresh token on a link that goes on. */
    renew(token) {
        this.#token = token;
        this.#say({ type: 'connect', ...this.#host.greeting(token), ref: this.#ask({ renewal: true }) });
    }

    #say(frame) {
        if (this.#socket.readyState === 1) this.#socket.send(this.#codec.encode(frame));
    }

    #ask(what) {
        this.#questions.set(++this.#lastRef, what);
        return this.#lastRef;
    }

    #greet() {
        const greeting = this.#host.greeting(this.#token);
        this.isAsking = Object.keys(greeting).length > 0;
        if (this.isAsking) this.#say({ type: 'connect', ...greeting, ref: this.#ask({ greeting: true }) });
    }

    #onConnected(frame) {
        const question = this.#answered(frame);
        if (frame.heartbeat > 0) this.#heartbeatMs = frame.heartbeat * 1000;
        if (this.isAsking && !question) return;   // the unasked one tells nothing that its answer doesn't
        this.connected = frame;
        this.#host.onConnected(frame);
        if (question?.renewal) return;
        for (const subscription of this.#host.wanted()) this.#subscribe(subscription);
        this.#lookLive();
    }

    #subscribe(subscription) {
        const { channel, options: { presence, keep, mode } } = subscription;
        this.#expected.add(channel);
        this.#say({
            type: 'subscribe', channel, ...this.#host.startOf(subscription), ...(presence && { presence }),
            ...(keep && { keep }), ...(mode && { mode }), ref: this.#ask({ channel }),
        });
    }

    #onData(data) {
        let frames;
        try {
            frames = this.#codec.decode(data);
        } catch (error) {
            this.#end(new LongwireError(0, `a frame of the server cannot be read: ${error.message}`));
            return;
        }
        for (const frame of frames) {
            this.#onFrame(frame);
            if (!this.#socket.onmessage) return;
        }
    }

    #onFrame(frame) {
        this.#listen();
        switch (frame.type) {
        case 'connected': this.#onConnected(frame); break;
        case 'subscribed': this.#onSubscribed(frame); break;
        case 'published': this.#onPublished(frame); break;
        case 'error': this.#onError(frame); break;
        case 'unsubscribed': case 'cursor': case 'pong': break;
        case 'read': if (frame.ref !== undefined) this.#answered(frame)?.resolve?.(frame); else this.#host.take(frame); break;
        case 'reconnect': this.#onReconnect(frame); break;
        case 'closing': this.#closing ??= frame; break;
        case 'replaced': this.#closing = { code: 4001, reason: 'another link of this device has taken over' }; break;
        case 'expiring': this.#host.onExpiring(frame); break;
        case 'join': case 'leave': case 'notify': this.#host.tell(frame); break;
        default: this.#host.take(frame);
        }
    }

    #answered(frame) {
        const question = this.#questions.get(frame.ref);
        this.#questions.delete(frame.ref);
        return question;
    }

    #onSubscribed(frame) {
        this.#answered(frame);
        this.#expected.delete(frame.channel);
        this.#host.onSubscribed(frame);
        this.#lookLive();
    }

    #lookLive() {
        if (this.#isLive || this.#expected.size > 0) return;
        this.#isLive = true;
        this.#host.live();
    }

    #onPublished(frame) {
        const { item } = this.#answered(frame) ?? {};
        if (!item) return;
        this.#inFlight--;
        this.#host.published(item, frame);
    }

    #onError(frame) {
        const question = this.#answered(frame);
        const error = new LongwireError(frame.code, frame.reason, { leastMs: frame.after ?? 0 });
        if (question?.item) {
            this.#inFlight--;
            this.#host.refusedPublish(question.item, error);
        } else if (question?.channel) this.#onRefusedChannel(question.channel, error);
        else if (question?.reject) question.reject(error);
        else if (question?.greeting || question?.renewal) this.#end(error);
        else this.#host.report(error);
    }

    /* 409: a session follows the channel by itself. What may succeed later ends the link, which comes again. */
    #onRefusedChannel(channel, error) {
        this.#expected.delete(channel);
        if (error.isFinal && error.code !== 409) this.#host.refusedChannel(channel, error);
        else if (error.code !== 409) { this.#end(error); return; }
        this.#lookLive();
    }

    #onReconnect({ after, where, reason }) {
        this.#end(new LongwireError(0, reason ?? 'the server asked this client to come again', { leastMs: after ?? 0, where, isTold: true }));
    }

    #onClose(event) {
        const { code, reason } = this.#closing ?? event;
        const text = reason || (event.wasClean ? `the server closed the link (${code})` : 'the link was lost');
        this.#end(new LongwireError(FINAL_CLOSES[code] ?? 0, text, { closeCode: code }));
    }

    /* A browser does not show the server's pings, and a dead link can look alive for minutes: when nothing was heard for a
     * heartbeat this asks, and when no answer comes either, the link is dead. */
    #listen() {
        clearTimeout(this.#watch);
        this.#watch = setTimeout(() => {
            this.#say({ type: 'ping' });
            this.#alarm(this.#host.times.patienceMs, 'the server went silent');
        }, Math.min(this.#heartbeatMs, this.#host.times.silenceMs));
    }

    #alarm(ms, why) {
        clearTimeout(this.#watch);
        this.#watch = setTimeout(() => this.#end(new LongwireError(0, why)), ms);
    }

    #end(error) {
        this.close();
        for (const { reject } of this.#questions.values()) reject?.(error);
        this.#host.failed(error);
    }
}
