/* client.js - the client: one link at a time, over the best transport that works, and what must outlive it.
 *
 * The one idea: a channel is a log and a subscriber a place in it. Whatever happens to links, the client names its places
 * and gets what comes next. So a link has no state that matters: it hands in what it hears (`take`), says when it works
 * (`live`) and once how it ended (`failed`); this file decides what comes then. */
import { backOffMs, DEFAULT_POLICY, policyOf } from './back_off.js';
import { Emitter } from './emitter.js';
import { LongwireError, reasonOf } from './errors.js';
import { authorization, failureOf, fetchWithin, messagesUrl, soundFetch, subjectOf, withBytes } from './http.js';
import { Outbox } from './outbox.js';
import { Comparing } from './link_places.js';
import { Pace } from './pace.js';
import { PlaceStore } from './place_store.js';
import { PollLink, poll } from './poll_link.js';
import { Requests } from './requests.js';
import { Roster } from './roster.js';
import { Servers } from './servers.js';
import { SseLink } from './sse_link.js';
import { Subscription } from './subscription.js';
import { WebSocketLink } from './websocket_link.js';

const LINKS = { websocket: WebSocketLink, sse: SseLink, poll: PollLink };
const ENCODINGS = ['binary', 'json'];   // of WebSockets, best first
const QUEUE_MAX = 10000;           // entries that wait for the application; beyond it nothing more is read
const GONE_MAX = 128;              // groups that were left of which it is known what came
const ACK_MS = 250;                // acknowledgements of this time go together
const ACK_AGAIN_MS = 2000;         // what could not be said by a request is said again
const QUICK_MS = 5000;             // an attempt that failed within this time may have met a server that was just starting
/* How late an answer may be before a link counts as dead; after how long without a sign of life it is asked for one, or
 * left where it cannot be asked (two heartbeats of 25 s and a little); how long a poll waits. */
const TIMES = { patienceMs: 10000, silenceMs: 60000, pollWaitS: 25 };
const PULL_LIMIT = 1000;
const TOLD = new Set(['join', 'leave', 'presence', 'notify']);   // of a channel, and not in its log
const PRESENCE = new Set(['join', 'leave', 'presence']);
const TOLD_MAX = 1000;             // responses of which it is known that fetch() has handed them over
const PRESENT_MAX = 10000;         // devices of a channel that are kept
const ANSWERED = new Set([400, 401, 403, 404]);   // what one channel among several can be refused with

/* Opens a client; short for new Client(url, options).open(). `url` may name several servers. */
export function connect(url, options) {
    return new Client(url, options).open();
}

export class Client extends Emitter {
    #subscriptions = new Map();
    #options;
    #servers;
    #isAllocated = false;       // `allocate` has been asked since the last link
    #times;
    #store;
    #outbox;
    #requests;
    #told = new Set();          // places of responses that fetch() has handed over
    #hasDeviceLog = false;      // requests have made this link follow the log of its device
    #link = null;
    #timer = 0;
    #failures = 0;
    #policy;
    #transports;                // those that may be tried, best first
    #chosen = 0;                // index of the one in use
    #reasons = [];              // why those before it are not used
    #isSecondTry = false;       // of a transport, although the server is there
    #began = 0;                 // when the attempt under way began
    #waiting = 0;               // entries that wait for the application
    #token = null;
    #tokenWhy = 'start';
    #renewTimer = 0;
    #isTokenRefused = false;
    #ticket = null;             // resumes the session without the application's token
    #isTicketKept = true;       // it is an earlier page's, and may be of another user
    #cursor = null;             // of polls: the places of channels that have had no message
    #lastId = null;             // of a session's event stream: the cursor behind its last event
    #handledId = null;          // … behind which nothing waits for the application
    #covered = new Set();       // channels that go on at the cursor
    #left = new Set();          // channels that the cursor holds, and that were unsubscribed since
    #attempt = 0;               // counts links; what a former one still says is ignored
    #isLoaded = null;
    #isUnfenced = false;        // the session is not this link's own yet: nothing can be acknowledged
    #acks = new Map();
    #gone = new Map();          // groups that the session has left: their last subscription, which knows what came
    #ackTimer = 0;
    #comparing = new Comparing();
    #paces = { publish: new Pace(), follow: new Pace() };
    #roomWaits = [];
    #isBehind = false;
    #unlisten = [];

    constructor(url, options = {}) {
        super();
        this.#servers = new Servers(url);
        this.#options = options;
        this.#times = Object.fromEntries(Object.entries(TIMES).map(([name, value]) => [name, options[name] ?? value]));
        this.#policy = policyOf(options.backOff, DEFAULT_POLICY);
        this.#transports = this.#usable(options.transports ?? Object.keys(LINKS));
        this.#store = new PlaceStore(options.keep, options.keepName ?? 'longwire', error => this.#report(error));
        this.#outbox = new Outbox({
            url: () => this.url, fetchWithin: this.#fetchWithin, patienceMs: this.#times.patienceMs, token: () => this.#askToken(), link: () => this.#link,
            askAgain: () => this.#canAskAgain(), prefersLink: () => this.isOpen && this.transport === 'websocket', random: Math.random,
        });
        this.#requests = new Requests({
            link: () => this.#link, prefersLink: () => this.transport === 'websocket', isOpen: () => this.isOpen,
            outlivesLink: () => Boolean(this.#options.session) || this.#hasDeviceLog, url: () => this.url, query: () => this.#query({ session: false }), device: () => this.device,
            fetch: this.#fetchWithin, token: () => this.#askToken(), askAgain: () => this.#canAskAgain(), keep: kept => this.#store.set('requests', kept),
            answered: message => this.emit('response', message), random: Math.random,
        });
        this.state = { name: 'closed', why: 'not opened yet' };
        this.connection = this.user = this.device = this.session = null;
    }

    /* The server in use. */
    get url() {
        return this.#servers.url;
    }

    get transport() {
        return this.#transports[this.#chosen];
    }

    /* Why better transports are not used: [{ transport, why }]. */
    get fallBacks() {
        return [...this.#reasons];
    }

    get isOpen() {
        return this.state.name !== 'closed';
    }

    open() {
        if (this.isOpen) return this;
        this.#enter('connecting', { transport: this.transport });
        this.#listenToPage();
        this.#isLoaded ??= this.#load();
        this.#isLoaded.then(() => this.isOpen && !this.#link && this.#connect());
        return this;
    }

    /* Ends the link for good. Subscriptions stay, and open() goes on at their places. Resolves when acknowledgements are
     * on their way and kept places are written. */
    async close(why = 'closed by the application') {
        this.#sendAcks();
        this.#leave();
        this.#unlisten.splice(0).forEach(end => end());
        this.#outbox.close();
        this.#requests.close();
        this.#enter('closed', { why });
        await this.#store.flush();
    }

    /* Ends the link and comes again after this time, at once without one. */
    reconnect(afterMs = 0, why = 'the application asked for it') {
        if (!this.isOpen) return;
        this.#leave();
        this.#onLinkLost();
        if (afterMs > 0) this.#stayAway(afterMs, why);
        else this.#connect();
    }

    /* Uses these transports from now on, best first. Places are the same on all of them. */
    useTransports(names) {
        this.#transports = this.#usable(names);
        this.#useTransport(0);
        this.#failures = 0;
        this.reconnect();
    }

    /* Follows a channel. handler(message, subscription) may return a promise: the next message of the channel waits for it. */
    subscribe(channel, handler, options = {}) {
        if (typeof handler !== 'function') [handler, options] = [null, handler ?? options];
        if (typeof channel !== 'string') throw new TypeError(`subscribe: a channel is a text such as topic:news, and not ${channel}`);
        const known = this.#subscriptions.get(channel);
        if (known && !known.isImplicit) throw new LongwireError(409, `${channel} is followed already`);
        known?.close();
        const subscription = this.#add(channel, handler, { ack: this.#options.ack, state: this.#options.state, mode: this.#options.mode, ...options });
        this.#prepare(subscription);
        return subscription;
    }

    unsubscribe(channel) {
        const subscription = this.#subscriptions.get(channel);
        if (!subscription) return;
        this.#subscriptions.delete(channel);
        subscription.close();
        this.#store.forget(channel);
        this.#acks.delete(channel);
        if (this.#covered.delete(channel)) this.#left.add(channel);
        if (subscription.isPrepared) this.#setChanged(link => link.remove(channel));
    }

    subscription(channel) {
        return this.#subscriptions.get(channel);
    }

    /* Resolves with { channel, epoch, seq, id, time } once the message is stored. */
    async publish(channel, data, options) {
        return this.#outbox.add(channel, data, options);
    }

    /* Asks a back end of the application, through the server. As fetch() of the platform; `input` is a path, or an address of which the
     * path counts. Resolves with a Response, whatever becomes of links meanwhile. */
    fetch(input, init) {
        return this.#requests.fetch(input, init);
    }

    /* Requests without a response: [{ id, method, path }]. Those of a page before this one, too. */
    get unanswered() {
        return this.#requests.unanswered;
    }

    /* Marks the channel as read up to a message: the user's other devices learn of it. Resolves with { channel, seq }, the mark as it is
     * then. */
    async read(channel, what) {
        const seq = typeof what === 'number' ? what : what.seq;
        if (this.#link?.read && this.state.name === 'live') return this.#link.read(channel, seq);
        const { read } = await this.#call('POST', '/v1/ack', { read: { [channel]: seq } });
        return { type: 'read', channel, seq: read[channel] };
    }

    /* How far a message came with each device: { channel, seq, devices: [{ user, device, state, time }], next }. */
    receipts(channel, what, { limit, next } = {}) {
        const seq = typeof what === 'number' ? what : what.seq;
        return this.#call('GET', `/v1/channels/${encodeURIComponent(channel)}/messages/${seq}/receipts`, undefined, { limit, next });
    }

    /* Which devices follow a channel now: { channel, count, subscribers: [{ user, device, transport, since }], next }. */
    presence(channel, { limit, next } = {}) {
        return this.#call('GET', `/v1/channels/${encodeURIComponent(channel)}/subscribers`, undefined, { limit, next });
    }

    /* Keeps the set of devices that follow a channel, which this client follows with presence. onChange(roster) at first and whenever
     * it changes. */
    roster(channel, onChange) {
        const roster = new Roster(() => this.#allPresent(channel), onChange, error => this.#report(error, { channel }));
        const unlisten = [...PRESENCE].map(type => this.on(type, entry => { if (entry.channel === channel) roster.take(entry); }));
        const close = roster.close;
        roster.close = () => { unlisten.forEach(end => end()); close.call(roster); };
        roster.refresh();
        return roster;
    }

    /* Replaces the token; a live WebSocket goes on with it. */
    setToken(token) {
        this.#options = { ...this.#options, token };
        this.#token = null;
        this.#isTokenRefused = false;
        this.#renew('start');
    }

    /* --- questions ---------------------------------------------------------------------------------------------- */

    /* One call of the HTTP API. A token that was refused is asked for anew, once. */
    async #call(method, path, body, words = {}) {
        const query = new URLSearchParams(this.#query({ session: false }).slice(1));
        for (const [name, value] of Object.entries(words)) if (value !== undefined) query.set(name, value);
        const answer = await this.#fetch(`${this.url}${path}${`${query}` && `?${query}`}`, {
            method, cache: 'no-store', ...(body && { body: JSON.stringify(body) }), signal: AbortSignal.timeout(this.#times.patienceMs),
            headers: { ...(body && { 'Content-Type': 'application/json' }), ...authorization(await this.#askToken()) },
        });
        if (answer.status === 401 && this.#canAskAgain()) return this.#call(method, path, body, words);
        if (!answer.ok) throw await failureOf(answer);
        return answer.json();
    }

    async #allPresent(channel) {
        const all = [];
        for (let next; all.length < PRESENT_MAX;) {
            const page = await this.presence(channel, { limit: PULL_LIMIT, next });
            all.push(...page.subscribers);
            if (!page.next) break;
            next = page.next;
        }
        return all;
    }

    /* --- subscriptions ------------------------------------------------------------------------------------------ */

    #add(channel, handler, options) {
        const subscription = new Subscription(channel, handler, options, this.#owner);
        this.#subscriptions.set(channel, subscription);
        return subscription;
    }

    async #prepare(subscription) {
        await (this.#isLoaded ??= this.#load());
        await subscription.prepare(this.#store.placeOf(subscription.channel));
        if (this.#subscriptions.get(subscription.channel) !== subscription) return;
        this.#setChanged(link => link.add(subscription));
        if (this.isOpen && !this.#link && this.state.name === 'connecting') this.#connect();
    }

    #load() {
        return this.#store.load().then(() => {
            this.#cursor = this.#store.get('cursor') ?? null;
            this.#covered = new Set(this.#store.get('covered') ?? []);
            this.device = this.#options.device ?? this.#store.get('device') ?? null;
            this.#ticket = this.#store.get('ticket') ?? null;
            this.#requests.restore(this.#store.get('requests'));
            const kept = this.#transports.indexOf(this.#store.get('transport'));
            if (kept > 0) {
                this.#chosen = kept;
                this.#reasons = this.#store.get('fallBacks') ?? [];
            }
        });
    }

    /* A WebSocket takes the change in frames; transports over HTTP ask anew. */
    #setChanged(tell) {
        if (!this.#link) return;
        if (this.transport === 'websocket') tell(this.#link);
        else if (!this.#changeTimer) this.#changeTimer = setTimeout(() => {
            this.#changeTimer = 0;
            if (this.#wanted().length > 0 || this.#options.session) this.#link?.changed();
            else if (this.#link) this.reconnect();
        }, 0);
    }
    #changeTimer = 0;

    #wanted() {
        return [...this.#subscriptions.values()].filter(subscription => subscription.isPrepared && !subscription.isImplicit);
    }

    /* What subscriptions ask of their client. */
    #owner = {
        begun: subscription => this.#store.setPlace(subscription.channel, subscription.place),
        moved: subscription => {
            // A handler may be done behind the end of its subscription, whose place is forgotten.
            if (this.#subscriptions.get(subscription.channel) === subscription) this.#store.setPlace(subscription.channel, subscription.place);
            if (this.#options.session) this.#acknowledge(subscription);
            this.#lookHandled();
            this.#wakeRoom();
        },
        queued: count => this.#onQueued(count),
        onControl: entry => { if (entry.type !== 'response' || !this.#told.delete(`${entry.epoch} ${entry.seq}`)) this.emit(entry.type, entry); },
        report: (error, more) => this.#report(error, more),
        unsubscribe: subscription => {
            if (this.#subscriptions.get(subscription.channel) === subscription) this.unsubscribe(subscription.channel);
        },
        pull: subscription => this.#pull(subscription),
    };

    /* Channels of a session come without being asked for; their messages go to the option onMessage. */
    #subscriptionOf(channel) {
        const known = this.#subscriptions.get(channel);
        if (known) return known;
        const { onMessage, onGap, onRecall, onPresence, onNotify, ack, state, mode } = this.#options;
        const subscription = this.#add(channel, onMessage ?? (() => {}), { ack, state, mode, onGap, onRecall, onPresence, onNotify });
        subscription.isImplicit = subscription.isPrepared = true;
        subscription.before = this.#gone.get(channel) ?? null;
        this.#gone.delete(channel);
        subscription.place = subscription.received = this.#store.placeOf(channel);
        return subscription;
    }

    /* Only of channels that the session has, and not those that this link follows beside it. */
    #acknowledge(subscription) {
        if (!subscription.isImplicit && !subscription.isOfSession && !subscription.options.keep) return;
        const current = this.#subscriptions.get(subscription.channel);
        if (current && current !== subscription && current.place) return;   // the group was joined again since
        this.#acks.set(subscription.channel, subscription.place);
        this.#ackTimer ||= setTimeout(() => this.#sendAcks(), ACK_MS);
    }

    #sendAcks() {
        clearTimeout(this.#ackTimer);
        this.#ackTimer = 0;
        if (this.#acks.size === 0 || this.state.name !== 'live' || this.#isUnfenced) return;
        const places = [...this.#acks];
        this.#acks.clear();
        if (!this.#link?.acknowledge) this.#postAcks(places);
        // What an earlier link brought waits until the channel is answered on this one.
        else for (const [channel, place] of places) if (!this.#link.acknowledge(channel, place)) this.#acks.set(channel, place);
    }

    async #postAcks(places) {
        try {
            const answer = await this.#fetchWithin(this.#times.patienceMs, `${this.url}/v1/ack${this.#query({ session: false })}`, {
                method: 'POST', headers: { 'Content-Type': 'application/json', ...authorization(await this.#askToken()) }, keepalive: true,
                body: JSON.stringify({ ...(this.device && { device: this.device }), places: Object.fromEntries(places.map(([channel, { seq }]) => [channel, seq])) }),
            });
            // 404: there is no session (yet). What is not acknowledged comes again, and is dropped.
            if (!answer.ok && answer.status !== 404) throw await failureOf(answer);
        } catch (error) {
            this.#report(error);
            if (error.isFinal || !this.isOpen) return;   // what is not acknowledged comes again, and is dropped
            for (const [channel, place] of places) if (!this.#acks.has(channel)) this.#acks.set(channel, place);
            this.#ackTimer ||= setTimeout(() => this.#sendAcks(), Math.max(ACK_AGAIN_MS, error.leastMs ?? 0));
        }
    }

    async #pull(subscription) {
        for (let more = true; more && !subscription.isClosed;) {
            const after = subscription.received?.seq ?? subscription.options.after ?? 0;
            const answer = await this.#fetchWithin(this.#times.silenceMs,
                `${messagesUrl(this.url, subscription.channel)}?after=${after}&limit=${PULL_LIMIT}`, { headers: authorization(await this.#askToken()) });
            if (!answer.ok) throw await failureOf(answer);
            const { messages, head } = await answer.json();
            for (const entry of messages) subscription.take(withBytes(entry));
            more = messages.length > 0 && (subscription.received?.seq ?? head) < head;
            await this.#room();
        }
    }

    /* --- tokens ------------------------------------------------------------------------------------------------- */

    async #askToken() {
        const { token } = this.#options;
        if (typeof token !== 'function') return token ?? null;
        if (this.#token === null) {
            const why = this.#tokenWhy;
            this.#token = Promise.resolve(token({ why }));
            this.#token.catch(() => { this.#token = null; });
        }
        return this.#token;
    }

    /* A ticket spares the application's token, and the server the check of it. Beside one that was kept the token says whose session is
     * meant: somebody else may have logged in since. */
    #tokenOfLink() {
        return this.#ticket !== null && !this.#isTicketKept && this.transport === 'websocket' ? null : this.#askToken();
    }

    #forgetToken(why) {
        this.#token = null;
        this.#tokenWhy = why;
    }

    /* Some time before the end, and not at once: tokens that end together must not all be renewed at one moment, and a token that
     * ends in a few seconds must not be renewed without a pause. */
    #onExpiring(frame) {
        this.emit('expiring', frame);
        clearTimeout(this.#renewTimer);
        this.#renewTimer = setTimeout(() => this.#renew('expiring'), frame.in * 1000 * (0.1 + 0.4 * Math.random()));
    }

    /* In-band: the link goes on. Transports over HTTP name the token in their next request, and an event stream begins anew. A token
     * that ends, and is all that the application has, helps no link: a stream would begin anew with it again and again. */
    async #renew(why) {
        if (why === 'expiring' && typeof this.#options.token !== 'function') return;
        this.#forgetToken(why);
        const link = this.#link;
        try {
            const token = await this.#askToken();
            if (link?.renew && link === this.#link && this.state.name === 'live') link.renew(token);
        } catch (error) {
            this.#report(error);
        }
    }

    /* --- links -------------------------------------------------------------------------------------------------- */

    /* Names that are unknown are an error; those that cannot work here are left out, with the reason. */
    #usable(names) {
        for (const name of names)
            if (!(name in LINKS)) throw new TypeError(`there is no transport '${name}'; there are ${Object.keys(LINKS).join(', ')}`);
        if (names.length === 0) throw new TypeError('transports: name at least one');
        return [...names];
    }

    async #connect() {
        for (const subscription of this.#subscriptions.values()) subscription.forgetTold();
        this.#leave();
        if (this.state.name !== 'connecting' || this.state.transport !== this.transport)
            this.#enter('connecting', { transport: this.transport });
        const attempt = ++this.#attempt;
        this.#began = Date.now();
        if (this.#options.session) this.#cursor = this.transport === 'sse' ? this.#handledId : null;   // a poll's belongs to its own link
        this.#lastId = null;
        if (this.transport !== 'websocket' && this.#wanted().length === 0 && !this.#options.session) return;   // nothing to ask for
        if (this.#options.allocate && !this.#isAllocated && await this.#allocate(attempt)) return;
        try {
            const [token, WebSocket] = await Promise.all([this.#tokenOfLink(), this.transport === 'websocket' ? this.#webSocket() : null]);
            if (attempt !== this.#attempt) return;
            this.#noteSubject(token);
            this.#link = new LINKS[this.transport](this.#hostOf(attempt), token, WebSocket);
        } catch (error) {
            if (attempt === this.#attempt) this.#onFailed(error);
        }
    }

    /* Asks where to connect. Where nobody answers, the last known servers are tried. true: this attempt is over. */
    async #allocate(attempt) {
        const { allocate, user, region } = this.#options;
        const query = new URLSearchParams({ ...(user && { user }), ...(region && { region }) });
        for (const url of allocate === true ? this.#servers.named : new Servers(allocate).named) {
            const told = await this.#fetchWithin(this.#times.patienceMs, `${url}/v1/allocate${`${query}` && `?${query}`}`, { cache: 'no-store' })
                .then(answer => answer.ok ? answer.json() : null).catch(() => null);
            if (attempt !== this.#attempt || !this.isOpen) return true;
            if (!Array.isArray(told?.nodes)) continue;
            this.#isAllocated = true;
            this.#servers.take(told.nodes);
            this.#policy = policyOf(told.reconnect, this.#policy);
            if (told.wait_ms > 0) this.#stayAway(told.wait_ms, 'very many clients come, and the servers told when it is this one\'s turn');
            return told.wait_ms > 0;
        }
        return false;
    }

    /* Node.js has a WebSocket of its own from version 22 on. */
    async #webSocket() {
        const { WebSocket } = this.#options;
        if (WebSocket ?? globalThis.WebSocket) return WebSocket ?? globalThis.WebSocket;
        if (!globalThis.process?.versions?.node) throw new LongwireError(0, 'there is no WebSocket here');
        return (await import('./node_websocket.js')).NodeWebSocket;
    }

    #fetch = (...args) => (this.#options.fetch ?? soundFetch)(...args);

    #fetchWithin = (ms, url, init) => fetchWithin(this.#fetch, ms, url, init);

    /* What a link may ask and tell. Nothing of what it says counts once there is another one. */
    #hostOf(attempt) {
        const now = tell => (...args) => attempt === this.#attempt ? tell(...args) : undefined;
        return {
            url: this.url,
            fetch: this.#fetch,
            times: this.#times,
            encodings: this.#options.encodings ?? ENCODINGS,
            comparing: this.#comparing,
            paces: this.#paces,
            query: () => this.#query(),
            request: () => this.#request(),
            onEventId: now(id => this.#onEventId(id)),
            settle: (token, signal) => this.#settle(token, signal),
            needsCursor: () => !this.#options.session && this.#wanted().some(subscription => !this.#isPlaced(subscription)),
            onCursor: now((cursor, messages) => this.#onCursor(cursor, messages)),
            greeting: token => this.#greeting(token),
            wanted: () => this.#wanted(),
            startOf: subscription => this.#startOf(subscription),
            isWatched: channel => this.#watchesGroups && channel.startsWith('group:'),
            room: () => this.#room(),
            live: now(() => this.#onLive()),
            onConnected: now(frame => this.#onConnected(frame)),
            onSubscribed: now((frame, isAsked) => this.#onSubscribed(frame, isAsked)),
            onUnsubscribed: now(({ channel }) => this.#onUnsubscribed(channel)),
            onExpiring: now(frame => this.#onExpiring(frame)),
            take: now(entry => this.#take(entry)),
            report: now(error => this.#report(error)),
            published: (item, frame) => this.#outbox.published(item, frame),
            refusedPublish: (item, error) => this.#outbox.refused(item, error),
            accepted: now(frame => this.#requests.accepted(frame)),
            refusedRequest: (item, error) => this.#requests.refused(item, error),
            followedAlready: now(channel => { if (this.#subscriptions.has(channel)) this.#subscriptions.get(channel).isOfSession = true; }),
            refusedChannel: now((channel, error) => this.#refuseChannel(channel, error)),
            failed: now(error => this.#onFailed(error)),
        };
    }

    #query({ session = this.#options.session } = {}) {
        const { user } = this.#options;
        const query = new URLSearchParams({ ...(session && { session: 1 }), ...(user && { user }), ...(this.device && { device: this.device }) });
        return `${query}` && `?${query}`;
    }

    #greeting(token) {
        const { user, session, heartbeat, mode } = this.#options;
        return {
            ...(token && { token }), ...((!token || this.#isTicketKept) && this.#ticket && { ticket: this.#ticket }), ...(user && { user }), ...(this.device && { device: this.device }), ...(session && { session: true }),
            ...(heartbeat !== undefined && { heartbeat }), ...(mode && { mode }),
        };
    }

    /* A session's place is an acknowledgement, so it names no more than what was handled. Elsewhere the entries that wait for
     * the application need not come again. */
    #startOf(subscription) {
        const place = this.#options.session ? null : subscription.toldPlace ?? subscription.received;
        return place ? { after: place.seq, ...(place.epoch && { epoch: place.epoch }) } : subscription.start();
    }

    #isPlaced({ channel, received, options: { after } }) {
        return received !== null || after !== undefined || (this.#cursor !== null && this.#covered.has(channel));
    }

    /* A cursor beats places, and may stand before them: what comes again is dropped. So it goes along only for channels that
     * have no place yet. */
    #request() {
        const wanted = this.#wanted();
        const channels = wanted.map(subscription => {
            const start = this.#startOf(subscription);
            return Object.keys(start).length > 0 ? { channel: subscription.channel, ...start } : subscription.channel;
        });
        const isCovered = ({ channel, received }) => received === null && this.#covered.has(channel);
        const isNeeded = this.#options.session ? true : wanted.some(isCovered);
        const isWatched = this.#watchesGroups || wanted.some(({ options: { presence } }) => presence);
        return { channels, ...(isWatched && { presence: true }), ...(this.#isNotify(wanted) && { mode: 'notify' }), ...(this.#cursor !== null && isNeeded && { cursor: this.#cursor }) };
    }

    get #watchesGroups() {
        return Boolean(this.#options.session && this.#options.presence);
    }

    /* A stream or poll has one mode for all its channels: messages, unless all are to be told heads. */
    #isNotify(wanted) {
        const { mode, session } = this.#options;
        return wanted.every(({ options }) => options.mode === 'notify') && (wanted.length > 0 && !session || mode === 'notify');
    }

    /* Without a session the cursor of a poll that told heads stands behind what was only told: after a cut that would not be told again. */
    #onCursor(cursor, messages) {
        if (cursor === null || (!this.#options.session && messages.some(({ type }) => type === 'notify'))) return;
        this.#cursor = cursor;
        this.#covered = new Set(this.#wanted().map(subscription => subscription.channel));
        this.#left.clear();
        this.#keepCursor();
    }

    /* A session's stream acknowledges by the cursor with which it comes again. */
    #onEventId(id) {
        if (!this.#options.session || !id) return;
        this.#lastId = id;
        this.#lookHandled();
    }

    #lookHandled() {
        if (this.#lastId !== null && this.#isSettled) this.#handledId = this.#lastId;
    }

    /* A channel that was left and is followed anew begins where its subscription says, and not at the cursor that is still
     * needed for others. So it is read up to its head alone, before the request of all. */
    async #settle(token, signal) {
        for (const subscription of this.#wanted()) {
            if (!this.#left.has(subscription.channel)) continue;
            let request = { channels: [{ channel: subscription.channel, ...this.#startOf(subscription) }] };
            for (;;) {
                const host = { url: this.url, fetch: this.#fetch, times: this.#times, query: () => '', request: () => request };
                const { messages, cursor } = await poll(host, token, 0, signal);
                if (signal.aborted) return;
                for (const entry of messages) this.#take(withBytes(entry));
                if (messages.length === 0 && cursor !== null) break;
                if (cursor !== null) request = { cursor };
            }
            this.#left.delete(subscription.channel);
            this.#covered.add(subscription.channel);
        }
    }

    /* What is kept must not stand behind what is handled: another page begins there. */
    #keepCursor() {
        if (this.#waiting > 0 || this.#options.session) return;
        this.#store.set('cursor', this.#cursor);
        this.#store.set('covered', [...this.#covered]);
    }

    #take(entry) {
        const isTold = entry.type === 'response' && this.#requests.take(entry);
        if (entry.replayed) return;   // which is no place
        if (isTold) this.#told.add(`${entry.epoch} ${entry.seq}`);
        if (this.#told.size > TOLD_MAX) this.#told.delete(this.#told.values().next().value);
        if (TOLD.has(entry.type)) { this.#subscriptionOf(entry.channel).tell(entry); this.emit(entry.type, entry); return; }
        if (typeof entry.channel !== 'string' || !(('seq' in entry && 'epoch' in entry) || entry.type === 'gap')) return;   // of a later version
        const isExpected = this.#subscriptions.has(entry.channel) || this.#options.session || entry.channel.startsWith('conn:');
        if (!isExpected) return;                                                                     // unsubscribed meanwhile
        if (!this.#subscriptionOf(entry.channel).take(entry)) {
            this.#onFailed(new LongwireError(0, `${entry.channel}: seq ${entry.seq} came too early; asking again from the last place`));
            return;
        }
        if (this.transport === 'websocket' && this.#isFull) this.#pause();
    }

    get #isFull() {
        return this.#waiting >= QUEUE_MAX;
    }

    /* null if there is room, else a promise that there will be. A session's next poll acknowledges what the last one brought, so
     * that must be handled. */
    #room() {
        const isPoll = this.#options.session && this.transport === 'poll';
        return this.#isFull || (isPoll && !this.#isSettled) ? new Promise(resolve => this.#roomWaits.push(resolve)) : null;
    }

    /* A WebSocket cannot be told to wait. So it ends, and begins again where the application has got to. */
    #pause() {
        this.#leave();
        this.#isBehind = true;
        this.#onLinkLost();
        this.#enter('away', { why: `${QUEUE_MAX} messages wait for the application; reading goes on when they are handled` });
    }

    get #isSettled() {
        return [...this.#subscriptions.values()].every(({ place, received }) => place?.seq === received?.seq && place?.epoch === received?.epoch);
    }

    /* count: how many more wait for the application, or how many fewer. */
    #onQueued(count) {
        this.#waiting += count;
        if (count <= 0) this.#wakeRoom();
        if (this.#isBehind && this.#waiting <= QUEUE_MAX / 2) this.#connect();
    }

    #wakeRoom() {
        if (this.#roomWaits.length === 0 || this.#isFull || (this.#options.session && this.transport === 'poll' && !this.#isSettled)) return;
        for (const wake of this.#roomWaits.splice(0)) wake();
    }

    #onConnected(frame) {
        this.connection = frame.connection ?? this.connection;
        this.session = frame.session ?? this.session;
        this.user = frame.user ?? this.user;
        this.device = frame.device ?? this.device;
        this.#policy = policyOf(frame.reconnect, this.#policy);
        if (this.#options.session) {
            this.#isUnfenced = frame.fenced === false;
            this.#ticket = frame.ticket ?? null;
            this.#isTicketKept = false;
            this.#noteUser(frame.user);
            this.#store.set('device', this.device);
            this.#store.set('ticket', this.#ticket);
        }
        this.emit('connected', frame);
        this.#sendAcks();
    }

    /* The user as a JWT names it, before anything is asked with it: transports over HTTP are not told who this is. */
    #noteSubject(token) {
        if (!this.#isSomebodyElse('subject', subjectOf(token))) return;
        this.#ticket = null;
        this.device = this.#options.device ?? null;
        this.#cursor = this.#lastId = this.#handledId = null;
        this.#covered.clear();
        this.#forgetKept();
    }

    /* And as the server says it. */
    #noteUser(user) {
        if (this.#isSomebodyElse('user', user)) this.#forgetKept();
    }

    #isSomebodyElse(member, name) {
        const before = this.#store.get(member);
        if (name === undefined || name === before) return false;
        this.#store.set(member, name);
        return before !== undefined;
    }

    /* What was kept is of one user. Places of another would pass over messages of this one, and requests would be sent in the wrong name. */
    #forgetKept() {
        this.#store.forgetPlaces();
        this.#requests.forgetKept();
        this.#acks.clear();
        this.#gone.clear();
        for (const subscription of this.#subscriptions.values()) subscription.forgetPlace();
    }

    #onLive() {
        this.#failures = 0;
        this.#isSecondTry = false;
        this.#isTokenRefused = false;
        this.#servers.worked();
        this.#store.set('transport', this.transport);
        this.#store.set('fallBacks', this.#reasons);
        this.#enter('live', { transport: this.transport });
        if (this.transport !== 'websocket') for (const subscription of this.#wanted()) subscription.settle.resolve(subscription);
        this.#sendAcks();
        this.#outbox.pump();
        this.#requests.pump();
    }

    /* The one place that decides what comes after a link. */
    #onFailed(thrown) {
        const error = thrown instanceof LongwireError ? thrown : new LongwireError(0, reasonOf(thrown));
        const wasLive = this.state.name === 'live';
        this.#leave();
        this.#isAllocated &&= Boolean(error.isOurs);
        if (error.where) { this.#servers.sendTo(error.where); this.#isAllocated = true; }
        this.#onLinkLost();
        if (error.isOurs) { this.#connect(); return; }
        if ((error.code === 401 || error.code === 400) && this.#dropTicket(error.code)) { this.#connect(); return; }
        if (error.code === 401 && this.#canAskAgain()) { this.#connect(); return; }
        if (error.isFinal) { this.#onRefused(error); return; }
        if (!wasLive && error.code === 0 && !error.isTold) this.#tryOther(error);
        else this.#tryLater(error);
    }

    #onLinkLost() {
        this.#outbox.onLinkLost();
        this.#requests.onLinkLost();
        this.#hasDeviceLog = false;
        if (!this.#options.session) this.#forgetImplicit();
    }

    /* What a link without a session follows because a back end said so ends with the link. */
    #forgetImplicit() {
        for (const { channel, isImplicit } of this.#subscriptions.values())
            if (isImplicit) { this.#subscriptions.delete(channel); this.#store.forget(channel); }
    }

    #tryLater(error) {
        if (error.code !== 0) this.#useTransport(0);   // a server that answers so is no reason to leave a transport
        if (error.code === 503) this.#servers.next();  // it has no room
        this.#isSecondTry = false;
        this.#stayAway(backOffMs(this.#policy, this.#failures++, error.leastMs ?? 0, Math.random()), error.message);
    }

    /* Another transport is tried if the server is there and this one does not work. Once more, if it failed quickly: the
     * server may have come up between the attempt and the probe. */
    async #tryOther(error) {
        const attempt = this.#attempt;
        const isQuick = Date.now() - this.#began < QUICK_MS;
        const isThere = await this.#isServerThere();
        if (attempt !== this.#attempt || !this.isOpen) return;
        const isRepeat = isThere && isQuick && !this.#isSecondTry;
        if (isRepeat) this.#isSecondTry = true;
        else if (!isThere && this.#servers.next()) this.#isSecondTry = false;   // another one, at once
        else if (isThere && this.#chosen + 1 < this.#transports.length) this.#useTransport(this.#chosen + 1, error.message);
        else {
            if (isThere) this.#useTransport(0);
            this.#tryLater(error);
            return;
        }
        this.#connect();
    }

    /* Any answer counts, also one that a page may not read. */
    async #isServerThere() {
        if (!this.#options.fetch && globalThis.process?.versions?.node)
            return (await import('./node_probe.js')).isAnswered(`${this.url}/healthz`, this.#times.patienceMs);
        try {
            const mode = globalThis.document ? { mode: 'no-cors' } : {};
            await this.#fetchWithin(this.#times.patienceMs, `${this.url}/healthz`, { cache: 'no-store', ...mode });
            return true;
        } catch {
            return false;
        }
    }

    #useTransport(index, why) {
        if (index === 0) this.#reasons = [];
        else this.#reasons.push({ transport: this.transport, why });
        this.#chosen = index;
        this.#isSecondTry = false;
        this.#handledId = null;   // another link's cursor is stale by then
    }

    /* A ticket that is too old, or was revoked: the token says whether this client may come. 400: the token names another device than the
     * one that was kept with the ticket. */
    #dropTicket(code) {
        const had = this.#ticket !== null;
        this.#ticket = null;
        if (had && code === 400) this.device = this.#options.device ?? null;
        return had;
    }

    /* A token may have run out while the device slept: the application is asked for a fresh one, once. */
    #canAskAgain() {
        if (typeof this.#options.token !== 'function' || this.#isTokenRefused) return false;
        this.#isTokenRefused = true;
        this.#forgetToken('refused');
        return true;
    }

    /* One channel that may not be followed must not end the others. Frames say which one it is; where a whole request was
     * refused, each channel is asked about. */
    async #onRefused(error) {
        const wanted = this.#wanted();
        if (this.transport === 'websocket' || wanted.length === 0 || !ANSWERED.has(error.code)) { this.#stop(error); return; }
        if (this.#cursor !== null && wanted.some(({ received }) => received === null)) {
            this.#cursor = null;   // it may be what was refused
            this.#covered.clear();
            this.#connect();
            return;
        }
        if (wanted.length === 1 && !this.#options.session) { this.#refuseChannel(wanted[0].channel, error); this.#stop(error); return; }
        const attempt = ++this.#attempt;
        const refused = await this.#refusedOf(wanted, error);
        if (attempt !== this.#attempt || !this.isOpen) return;
        for (const [channel, why] of refused) this.#refuseChannel(channel, why);
        if (refused.length === 0 || refused.length === wanted.length) this.#stop(error);
        else this.#connect();
    }

    async #refusedOf(wanted) {
        const refused = [];
        const { signal } = new AbortController();
        for (const subscription of wanted) {
            const host = { url: this.url, fetch: this.#fetch, times: this.#times, query: () => '', request: () => ({ channels: [subscription.channel] }) };
            try {
                await poll(host, await this.#askToken(), 0, signal);
            } catch (error) {
                if (error instanceof LongwireError && error.isFinal) refused.push([subscription.channel, error]);
            }
        }
        return refused;
    }

    /* Without a session nobody but a request makes the server follow a channel unasked: its responses are told to who has asked. */
    #onSubscribed(frame, isAsked) {
        if (isAsked || this.#options.session || !frame.channel.startsWith('device:')) this.#subscriptionOf(frame.channel).onSubscribed(frame, isAsked);
        else this.#hasDeviceLog = true;
        if (this.#acks.has(frame.channel)) this.#ackTimer ||= setTimeout(() => this.#sendAcks(), ACK_MS);
    }

    /* Unasked: a session's group that was left, or what a fresh token does not allow any more. */
    #onUnsubscribed(channel) {
        const subscription = this.#subscriptions.get(channel);
        if (subscription?.isImplicit) {
            this.#subscriptions.delete(channel);
            this.#keepGone(channel, subscription.received ? subscription : subscription.before);
            this.#store.forget(channel);   // who joins again begins anew
        } else this.#refuseChannel(channel, new LongwireError(403, `${channel} may not be followed any more`));
    }

    /* What came may be acknowledged yet, and comes again if that is lost. */
    #keepGone(channel, subscription) {
        this.#gone.delete(channel);
        if (subscription) this.#gone.set(channel, subscription);
        if (this.#gone.size > GONE_MAX) this.#gone.delete(this.#gone.keys().next().value);
    }

    #refuseChannel(channel, error) {
        const subscription = this.#subscriptions.get(channel);
        if (!subscription) return;
        this.#subscriptions.delete(channel);
        this.#report(error, { channel });
        subscription.close(Object.assign(error, { channel }));
    }

    #stop(error) {
        this.#report(error);
        if (error.code === 409) this.emit('replaced', error);
        for (const { settle } of this.#subscriptions.values()) settle.reject(error);
        this.close(error.message);
    }

    #stayAway(ms, why) {
        this.#enter('away', { why, until: Date.now() + ms });
        this.#timer = setTimeout(() => this.#connect(), ms);
    }

    #leave() {
        clearTimeout(this.#timer);
        clearTimeout(this.#renewTimer);
        this.#attempt++;
        this.#isBehind = false;
        this.#link?.close();
        this.#link = null;
        for (const wake of this.#roomWaits.splice(0)) wake();
    }

    #enter(name, more = {}) {
        this.state = { name, why: '', ...more };
        this.emit('state', this.state);
    }

    /* Errors that no promise tells. Without a listener they go to the console, so that nothing fails in silence. */
    #report(error, more = {}) {
        this.#hasErrorListener ? this.emit('error', { error, ...more }) : console.error('longwire:', error);
    }
    #hasErrorListener = false;

    on(name, listener) {
        if (name === 'error') this.#hasErrorListener = true;
        return super.on(name, listener);
    }

    /* --- the page ----------------------------------------------------------------------------------------------- */

    /* A page that is hidden sleeps, and a device changes its network: both are told by events, and neither by the link. */
    #listenToPage() {
        if (typeof globalThis.addEventListener !== 'function') return;
        const listen = (target, name, listener) => {
            target.addEventListener(name, listener);
            this.#unlisten.push(() => target.removeEventListener(name, listener));
        };
        listen(globalThis, 'online', () => this.#onOnline());
        listen(globalThis, 'pagehide', () => { this.#sendAcks(); this.#store.flush(); });
        listen(globalThis, 'pageshow', event => { if (event.persisted) this.reconnect(0, 'the page was shown again'); });
        if (globalThis.document) listen(document, 'visibilitychange', () => this.#onVisibility(document.visibilityState === 'visible'));
    }

    /* Another network may let through what the last one did not. */
    #onOnline() {
        if (this.#chosen === 0) { this.#comeBack(); return; }
        this.#useTransport(0);
        this.reconnect(0, 'the network has changed');
    }

    #onVisibility(isVisible) {
        this.#link?.onVisibility?.(isVisible);
        if (isVisible) this.#comeBack();
    }

    #comeBack() {
        if (this.state.name === 'away' && !this.#isBehind) this.#connect();
        else this.#link?.check();
    }
}
