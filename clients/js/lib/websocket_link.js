/* websocket_link.js - frames both ways. Channels, tokens and publishes all travel in frames, so nothing secret stands in a
 * URL. */
import { BinCodec } from './bin.js';
import { LongwireError, REPLACED, errorOfClose } from './errors.js';
import { base64OfBytes, webSocketUrl, withBytes } from './http.js';
import { LinkPlaces } from './link_places.js';

const IN_FLIGHT_MAX = 64;    // publishes; the server takes 256
const HEARTBEAT_S = 25;      // until the server has told its own
const HIDDEN_MS = 60000;

/* A codec turns the client's frames into what a WebSocket sends, and what comes into frames. */
export class JsonCodec {
    static protocol = 'longwire.json.v1';

    /* `json`: a publish's data, as text already. */
    encode({ bytes, json, ...frame }) {
        const name = frame.type === 'request' ? 'body_base64' : 'data_base64';
        const text = JSON.stringify(bytes ? { ...frame, [name]: base64OfBytes(bytes) } : frame);
        return json === undefined ? text : `${text.slice(0, -1)},"data":${json}}`;
    }

    decode(data) {
        return [withBytes(JSON.parse(data))];
    }
}

const CODECS = { binary: BinCodec, json: JsonCodec };

export class WebSocketLink {
    static transport = 'websocket';
    #host;
    #token;
    #socket;
    #codec = null;
    #watch = 0;
    #heartbeatMs = HEARTBEAT_S * 1000;
    #isGreeted = false;          // channels may be asked for
    #isAwaited = false;          // … only behind the answer to `connect`
    #isAnswered = false;         // nothing that this link has said of the client is open
    #isBeating = false;          // the client sends heartbeats by itself, which it has offered
    #beatTimer = 0;
    #isLive = false;
    #expected = new Set();       // channels that have not been answered
    #begun = new Set();          // channels that were answered, or of which something came
    #gone = new Set();           // groups that the session has left: what they brought can still be acknowledged
    #questions = new Map();      // ref → what the answer is for
    #lastRef = 0;
    #inFlight = 0;
    #asking = 0;                 // requests that are not accepted
    #closing = null;             // what the server said before it closes
    #places = new LinkPlaces();
    #isCompared = false;         // the last ping had a digest
    #waiting = [];               // subscriptions that the server has not been asked for, because it is asked too often
    #followTimer = 0;
    #left = new Map();           // channels that are asked for again → ref of their unsubscribe, which is not answered yet

    constructor(host, token, WebSocket) {
        this.#host = host;
        this.#token = token;
        const codecs = host.encodings.map(name => CODECS[name]);
        this.#socket = new WebSocket(`${webSocketUrl(host.url)}/v1/ws`, codecs.map(({ protocol }) => protocol));
        this.#socket.binaryType = 'arraybuffer';
        this.#socket.onopen = () => {
            this.#codec = new (codecs.find(({ protocol }) => protocol === this.#socket.protocol) ?? JsonCodec)();
            this.#greet();
        };
        this.#socket.onmessage = event => this.#onData(event.data);
        this.#socket.onclose = event => this.#onClose(event);
        this.#socket.onerror = () => {};   // `close` follows, and says more
        // A proxy that lets nothing through is found out by this.
        this.#alarm(this.#host.times.patienceMs, 'the WebSocket brought nothing: something on the way may hold it back');
    }

    close(error = new LongwireError(0, 'the link was left before the answer came')) {
        clearTimeout(this.#watch);
        clearTimeout(this.#beatTimer);
        clearTimeout(this.#followTimer);
        this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
        this.#socket.close(1000);
        for (const { reject } of this.#questions.values()) reject?.(error);
        this.#questions.clear();
    }

    add(subscription) {
        if (this.#isGreeted) this.#follow([subscription]);
    }

    remove(channel) {
        const count = this.#waiting.length;
        this.#waiting = this.#waiting.filter(subscription => subscription.channel !== channel);
        if (this.#waiting.length < count) { this.#expected.delete(channel); this.#lookLive(); return; }
        if (this.#isGreeted) this.#say({ type: 'unsubscribe', channel, ref: this.#ask({ leaving: channel }) });
    }

    /* Is anybody there? Asked when a page comes to the front, or the network has changed. */
    check() {
        if (this.#isLive) this.#ping();
    }

    /* False: nothing of the channel came on this link yet, so the server would refuse it. */
    acknowledge(channel, place) {
        if (!this.#begun.has(channel) && !this.#gone.has(channel)) return false;
        this.#say({ type: 'ack', channel, seq: place.seq, ...(place.epoch && { epoch: place.epoch }) });
        return true;
    }

    read(channel, seq) {
        return new Promise((resolve, reject) => {
            const ref = this.#ask({ read: channel, resolve, reject });
            this.#say({ type: 'read', channel, seq, ref });
        });
    }

    canPublish(now) {
        return this.#isLive && this.#inFlight < IN_FLIGHT_MAX && this.#host.paces.publish.allows(now);
    }

    /* How long the limits of the server keep it from that. */
    publishRestMs(now) {
        return this.#host.paces.publish.restMs(now);
    }

    publish(item, now) {
        const ref = this.#ask({ item });
        try {
            this.#say({ type: 'publish', ...item.frame, ref });
        } catch (error) {
            this.#questions.delete(ref);
            throw error;
        }
        this.#inFlight++;
        this.#host.paces.publish.sent(now);
    }

    get canRequest() {
        return this.#isLive && this.#asking < IN_FLIGHT_MAX;
    }

    request(item) {
        this.#asking++;
        const ref = this.#ask({ asking: item });
        this.#say({ type: 'request', ...item.frame, ref });
    }

    cancel(id) {
        this.#say({ type: 'cancel', id });
    }

    /* A fresh token on a link that goes on. */
    renew(token) {
        this.#token = token;
        this.#say({ type: 'connect', ...this.#host.greeting(token), ref: this.#ask({ renewal: true }) });
    }

    #say(frame) {
        if (this.#socket.readyState !== 1) return;
        this.#socket.send(this.#codec.encode(frame));
        this.#beat();
    }

    /* A heartbeat when nothing was sent for one interval. Any frame is a sign of life, so it begins anew behind each. */
    #beat() {
        if (!this.#isBeating) return;
        clearTimeout(this.#beatTimer);
        this.#beatTimer = setTimeout(() => this.#ping(), this.#promisedMs ?? this.#heartbeatMs);
    }
    #promisedMs = null;
    #isAsking = false;

    #ping(more = {}) {
        this.#isCompared = this.#host.comparing.isDue();
        this.#say({ type: 'ping', ...more, ...(this.#isCompared && { digest: this.#places.digest() }) });
        if (this.#isAsking) return;   // an answer is due already, and another question does not put it off
        this.#isAsking = true;
        this.#alarm(this.#host.times.patienceMs, 'the server went silent');
    }

    /* Timers of a page that nobody sees are slowed down to one a minute: so the next beats are promised for later. */
    onVisibility(isVisible) {
        if (!this.#isLive || !this.#isBeating) return;
        this.#promisedMs = this.#heartbeatMs + (isVisible ? 0 : HIDDEN_MS);
        this.#ping({ next_ms: this.#promisedMs });
    }

    #ask(what) {
        this.#questions.set(++this.#lastRef, what);
        return this.#lastRef;
    }

    #greet() {
        const greeting = this.#host.greeting(this.#token);
        this.#isBeating = greeting.heartbeat !== undefined;
        this.#isAwaited = greeting.session === true;
        this.#isAnswered = Object.keys(greeting).length === 0;
        if (this.#isAnswered) return;
        try {
            this.#say({ type: 'connect', ...greeting, ref: this.#ask({ greeting: true }) });
        } catch (error) {
            this.#end(error);
        }
    }

    /* The server says `connected` unasked, and again in answer to `connect`. Channels can be asked for at once, because frames
     * are taken in their order; only a session must be there first. */

    #onConnected(frame) {
        const question = this.#answered(frame);
        if (frame.heartbeat > 0) this.#heartbeatMs = frame.heartbeat * 1000;
        if (question) this.#isAnswered = true;
        if (this.#isAwaited && !this.#isAnswered) return;   // told once more when a session that was not fenced is its own
        this.#host.onConnected(frame);
        this.#beat();
        if (!this.#isGreeted) {
            this.#isGreeted = true;
            this.#follow(this.#host.wanted());
        }
        this.#lookLive();
    }

    /* As fast as the server lets. */
    #follow(more = []) {
        const { follow } = this.#host.paces;
        for (const subscription of more) this.#expected.add(subscription.channel);
        this.#waiting.push(...more);
        while (this.#waiting.length > 0 && follow.allows(performance.now())) {
            this.#subscribe(this.#waiting.shift());
            follow.sent(performance.now());
        }
        clearTimeout(this.#followTimer);
        if (this.#waiting.length > 0) this.#followTimer = setTimeout(() => this.#follow(), follow.restMs(performance.now()));
    }

    #subscribe(subscription) {
        const { channel, options: { presence, keep, mode } } = subscription;
        const start = this.#host.startOf(subscription);
        const ref = this.#ask({ channel, subscription });
        try {
            this.#say({ type: 'subscribe', channel, ...start, ...(presence && { presence }), ...(keep && { keep }), ...(mode && { mode }), ref });
            this.#places.asks(channel, start.after);
        } catch (error) {
            this.#questions.delete(ref);
            this.#onRefusedChannel(channel, error);
        }
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
        this.#places.take(frame);
        switch (frame.type) {
        case 'connected': this.#onConnected(frame); break;
        case 'subscribed': this.#onSubscribed(frame); break;
        case 'ping': this.#say({ type: 'pong' }); break;
        case 'published': this.#onPublished(frame); break;
        case 'accepted': this.#onAccepted(frame); break;
        case 'response': this.#onResponse(frame); break;
        case 'error': this.#onError(frame); break;
        case 'unsubscribed': this.#onUnsubscribed(frame); break;
        case 'pong': this.#onPong(frame); break;
        case 'cursor': case 'ack': break;
        case 'read': if (frame.ref !== undefined) this.#answered(frame)?.resolve?.(frame); else this.#host.take(frame); break;
        case 'reconnect': this.#onReconnect(frame); break;
        case 'closing': this.#closing ??= frame; break;
        case 'replaced': this.#closing = REPLACED; break;
        case 'expiring': this.#host.onExpiring(frame); break;
        default: this.#take(frame);
        }
    }

    #take(frame) {
        if (this.#left.has(frame.channel)) return;
        this.#begun.add(frame.channel);
        this.#host.take(frame);
    }

    #answered(frame) {
        const question = this.#questions.get(frame.ref);
        this.#questions.delete(frame.ref);
        return question;
    }

    #onSubscribed(frame) {
        const question = this.#answered(frame);
        if (question?.watching) return;
        if (question?.subscription) this.#host.paces.follow.answered();
        const isAsked = question !== undefined;   // else a session follows it, from a place of its own
        this.#expected.delete(frame.channel);
        this.#begun.add(frame.channel);
        this.#host.onSubscribed(frame, isAsked);
        if (!isAsked && this.#host.isWatched(frame.channel))
            this.#say({ type: 'subscribe', channel: frame.channel, presence: true, ref: this.#ask({ watching: true }) });
        this.#lookLive();
    }

    #onUnsubscribed(frame) {
        this.#begun.delete(frame.channel);
        if (this.#answered(frame)) {
            this.#forgetLeft(frame);
            return;
        }
        if (frame.channel.startsWith('group:')) this.#gone.add(frame.channel);
        this.#host.onUnsubscribed(frame);
    }

    #forgetLeft({ ref }) {
        for (const [channel, its] of this.#left) if (its === ref) this.#left.delete(channel);
    }

    /* The server's digest and places are those of this position of the stream, so a difference is no matter of what is under
     * way. */
    #onPong(frame) {
        const places = this.#places.differenceOf(frame);
        if (places) this.#heal(this.#places.compare(places));
        else if (places === undefined) this.#say({ type: 'ping', places: true });
        else if (this.#isCompared) this.#host.comparing.agreed();
        this.#isCompared = false;
    }

    /* What a session follows can't be unsubscribed: there another link goes on from the places that were acknowledged. */
    #heal({ moved, strays, missing }) {
        const wanted = new Map(this.#host.wanted().map(subscription => [subscription.channel, subscription]));
        const isOwn = channel => this.#isAwaited && (!wanted.has(channel) || wanted.get(channel).isOfSession);
        const again = [...moved, ...strays].filter(channel => !this.#left.has(channel));
        const absent = missing.filter(channel => isOwn(channel) || wanted.has(channel));
        if (again.length + absent.length === 0) return;
        this.#host.comparing.healed();
        if ([...again, ...absent].some(isOwn)) {
            this.#end(new LongwireError(0, 'a heartbeat showed that something was lost; asking again on another link'));
            return;
        }
        for (const channel of again) this.#askAgain(channel, wanted.get(channel));
        for (const channel of absent) this.#subscribe(wanted.get(channel));
    }

    /* subscription: undefined if nobody wants the channel (any more). */
    #askAgain(channel, subscription) {
        const ref = this.#ask({ leaving: channel });
        this.#left.set(channel, ref);
        this.#say({ type: 'unsubscribe', channel, ref });
        if (subscription) this.#subscribe(subscription);
    }

    #lookLive() {
        if (this.#isLive || !this.#isAnswered || this.#expected.size > 0) return;
        this.#isLive = true;
        this.#host.live();
    }

    #onPublished(frame) {
        const { item } = this.#answered(frame) ?? {};
        if (!item) return;
        this.#inFlight--;
        this.#host.paces.publish.answered();
        this.#host.published(item, frame);
    }

    #onAccepted(frame) {
        if (this.#answered(frame)?.asking) this.#asking--;
        this.#host.accepted(frame);
    }

    /* A replay answers a request, and is not numbered: no `accepted` came before it. */
    #onResponse(frame) {
        if (frame.replayed)
            for (const [ref, { asking }] of this.#questions)
                if (asking?.frame.id === frame.request) { this.#questions.delete(ref); this.#asking--; }
        this.#take(frame);
    }

    #onError(frame) {
        const question = this.#answered(frame);
        const error = new LongwireError(frame.code, frame.reason, { leastMs: frame.after ?? 0 });
        if (question?.item) {
            if (error.isOfLimit) this.#host.paces.publish.refused(error.leastMs, performance.now());
            this.#inFlight--;
            this.#host.refusedPublish(question.item, error);
        } else if (question?.asking) {
            this.#asking--;
            this.#host.refusedRequest(question.asking, error);
        } else if (question?.subscription && error.isOfLimit) this.#followLater(question.subscription, error);
        else if (question?.subscription) this.#onRefusedChannel(question.channel, error);
        else if (question?.reject) question.reject(error);
        else if (question?.greeting || (question?.renewal && error.code !== 403)) this.#end(error);
        else if (question?.leaving) this.#forgetLeft(frame);
        else this.#host.report(error);
    }

    #followLater(subscription, error) {
        this.#host.paces.follow.refused(error.leastMs, performance.now());
        this.#follow([subscription]);
    }

    /* 409: a session follows the channel by itself. What may succeed later ends the link, which comes again. */
    #onRefusedChannel(channel, error) {
        this.#expected.delete(channel);
        if (error.code === 409) this.#host.followedAlready(channel);
        else if (error.isFinal) this.#host.refusedChannel(channel, error);
        else { this.#end(error); return; }
        this.#lookLive();
    }

    #onReconnect({ after, where, reason }) {
        this.#end(new LongwireError(0, reason ?? 'the server asked this client to come again', { leastMs: after ?? 0, where, isTold: true }));
    }

    #onClose(event) {
        const { code, reason } = this.#closing ?? event;
        const text = reason || (event.wasClean ? `the server closed the link (${code})` : 'the link was lost');
        this.#end(errorOfClose(code, text));
    }

    /* A browser does not show the server's pings, and a dead link can look alive for minutes: when nothing was heard for a
     * heartbeat this asks, and when no answer comes either, the link is dead. */
    #listen() {
        clearTimeout(this.#watch);
        this.#isAsking = false;
        // Who sends heartbeats gets an answer to each, and looks no further.
        if (this.#isBeating) return;
        this.#watch = setTimeout(() => this.#ping(), Math.min(this.#heartbeatMs, this.#host.times.silenceMs));
    }

    #alarm(ms, why) {
        clearTimeout(this.#watch);
        this.#watch = setTimeout(() => this.#end(new LongwireError(0, why)), ms);
    }

    #end(error) {
        this.close(error);
        this.#host.failed(error);
    }
}
