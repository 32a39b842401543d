/** Types of the package `longwire`. API.md explains what they are for. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type TransportName = 'websocket' | 'sse' | 'poll';

/** A place in a channel: behind the message with this seq, in this life of the log. */
export interface Place {
    epoch?: string;
    seq: number;
}

export interface Message<T = any> {
    type: 'message';
    channel: string;
    epoch: string;
    seq: number;
    id: number;
    /** When the server accepted it, ms since 1970. */
    time: number;
    /** Who published it: the name of an API key, `user:U`, or null. */
    from: string | null;
    media: string;
    event?: string;
    /** A JSON value, a string, or bytes (Uint8Array) if the payload is not text. */
    data: T;
}

/** A message was taken back: remove `target`. */
export interface Recall {
    type: 'recall';
    channel: string;
    epoch: string;
    seq: number;
    id: number;
    time: number;
    from: string | null;
    target: number;
}

/** What remains of a message that was taken back before it came here. */
export interface Recalled {
    type: 'message';
    channel: string;
    epoch: string;
    seq: number;
    id: number;
    time: number;
    from: string | null;
    recalled: true;
}

/** The server does not have the messages `from` to `to`, both included. */
export interface Gap {
    type: 'gap';
    channel: string;
    epoch: string;
    from: number;
    to: number;
    why: 'expired' | 'trimmed' | 'corrupt' | 'epoch' | 'ahead' | 'collapsed' | 'unfollowed' | (string & {});
}

export interface Notify {
    type: 'notify';
    channel: string;
    head: number;
    [member: string]: unknown;
}

export interface Presence {
    /** `presence`: the number alone; who shows the set asks for it (GET …/subscribers). */
    type: 'join' | 'leave' | 'presence';
    channel: string;
    /** Not in `presence`. */
    user?: string;
    device?: string;
    count: number;
}

/** The user has read the channel up to this seq. */
export interface ReadMark {
    channel: string;
    seq: number;
    [member: string]: unknown;
}

/** Of a long answer: `next` of the page before. */
export interface Page {
    limit?: number;
    next?: string;
}

export interface DeviceReceipt {
    user: string;
    device: string;
    state: 'acknowledged' | 'written' | 'pending';
    time: number | null;
}

export interface Receipts {
    channel: string;
    seq: number;
    devices: DeviceReceipt[];
    next?: string;
}

export interface PresentDevice {
    user: string;
    device: string;
    transport?: string;
    since?: number;
}

export interface Subscribers {
    channel: string;
    count: number;
    subscribers: PresentDevice[];
    next?: string;
}

/** Who follows a channel, kept up to date. */
export interface Roster {
    readonly devices: PresentDevice[];
    /** Their names, sorted, each once. */
    readonly users: string[];
    close(): void;
}

/** A message of the server itself in a log: `membership`, `read` … */
export interface ControlMessage {
    type: string;
    channel: string;
    epoch: string;
    seq: number;
    id: number;
    time: number;
    [member: string]: unknown;
}

export interface Receipt {
    channel: string;
    epoch: string;
    seq: number;
    id: number;
    time: number;
    /** The same key was used before: this is the first answer. */
    replayed?: true;
}

export interface State {
    name: 'closed' | 'connecting' | 'live' | 'away';
    /** In words for people. */
    why: string;
    transport?: TransportName;
    /** `away`: when the next attempt begins, ms since 1970. Absent while the application is behind. */
    until?: number;
}

export interface BackOff {
    base_ms?: number;
    factor?: number;
    cap_ms?: number;
    /** The part of the wait that is random, 0 to 1. */
    jitter?: number;
}

export interface Store {
    get(name: string): string | null | undefined | Promise<string | null | undefined>;
    set(name: string, text: string): unknown;
}

export type Handler<T = any> = (message: Message<T>, subscription: Subscription) => unknown;

export interface StateQuestion {
    channel: string;
    why: 'first' | 'gap';
    gap?: Gap;
}

interface Delivery {
    /** `auto`: a message is acknowledged when the handler is done with it. `manual`: by `subscription.ack()`. */
    ack?: 'auto' | 'manual';
    mode?: 'push' | 'notify';
    /** Loads the application's own snapshot, and returns the place at which it was taken. */
    state?(question: StateQuestion): Place | number | null | undefined | Promise<Place | number | null | undefined>;
    onGap?(gap: Gap, subscription: Subscription): unknown;
    onRecall?(entry: Recall | Recalled, subscription: Subscription): unknown;
    onPresence?(entry: Presence): void;
    onNotify?(entry: Notify): void;
}

export interface SubscribeOptions extends Delivery {
    /** Begin behind this seq; 0: with the first message that is kept. */
    after?: number;
    /** Goes with `after`. */
    epoch?: string;
    /** Begin with the last N messages. */
    last?: number;
    /** In a session: the server keeps the subscription for the next link. */
    keep?: boolean;
    /** Ask for `join` and `leave`. */
    presence?: boolean;
}

export interface PublishOptions {
    media?: string;
    /** Seconds. */
    ttl?: number;
    /** The idempotency key; without one a random one is made. */
    key?: string;
    event?: string;
    collapseKey?: string;
    priority?: 'now' | 'beat';
    /** How long it is tried; 60,000 without one. */
    timeoutMs?: number;
    /** `http`: not over the WebSocket. */
    via?: 'http';
}

export interface FetchOptions extends RequestInit {
    /** Names the request, once for each device: the same id again gets the same response. Without one a random one is made. */
    id?: string;
    /** How long the back end may take; as its configuration says without it. To give up waiting, use `signal`. */
    timeoutMs?: number;
}

export interface FetchResponse extends Response {
    readonly id: string;
    /** The server had answered this id before. */
    readonly replayed: boolean;
}

export interface ClientOptions extends Delivery {
    /** A token, or a function that gets one: at first, before it runs out, and after it was refused. */
    token?: string | ((question: { why: 'start' | 'expiring' | 'refused' }) => string | null | Promise<string | null>);
    /** Where the server asks for no token. */
    user?: string;
    device?: string;
    /** Ask where to connect (`GET /v1/allocate`): true asks the named servers, an address asks that one. */
    allocate?: boolean | string;
    /** For `allocate`: a node of this region, if there is one. */
    region?: string;
    /** A session on the server: it keeps this device's places, and follows its user, its device and its groups by itself. */
    session?: boolean;
    /** In a session: ask who comes and goes in the groups that it follows by itself. */
    presence?: boolean;
    /** Gets the messages of the channels that a session follows by itself, and of `conn:KEY`, the connection's own. */
    onMessage?: Handler;
    /** Best first; all of them without it. */
    transports?: TransportName[];
    /** Of WebSockets, best first; both without it. */
    encodings?: ('binary' | 'json')[];
    /** Keeps places over a reload: for this tab, for this browser, or in a store of the application. */
    keep?: false | 'session' | 'local' | Store;
    /** The name in the store; `longwire` without one. Clients that share a store need different names, and so do users who log in one after the other: a kept ticket opens
     * the session of the user who it was given to. */
    keepName?: string;
    backOff?: BackOff;
    /** Seconds that the client wishes between heartbeats. */
    heartbeat?: number;
    /** How late an answer may be before the link counts as dead; 10,000. */
    patienceMs?: number;
    /** After this time without a sign of life a link is asked for one, or left; 60,000. */
    silenceMs?: number;
    /** How long a poll waits; 25. */
    pollWaitS?: number;
    fetch?: typeof fetch;
    WebSocket?: unknown;
}

export class LongwireError extends Error {
    constructor(code: number, reason: string, more?: object);
    /** As an HTTP status; 0 where no server answered. */
    code: number;
    /** The channel that was refused. */
    channel?: string;
    /** publish(): the idempotency key with which it can be repeated. */
    key?: string;
    /** fetch(): the id with which it can be repeated. */
    id?: string;
    /** A repeated request would be refused again. */
    readonly isFinal: boolean;
}

export interface Subscription extends AsyncIterable<Message> {
    readonly channel: string;
    /** Behind the last message that was handled; null before the first, of a channel that is followed from now on. */
    readonly place: Place | null;
    /** The last seq of the channel, as far as the server has told. */
    readonly head: number | null;
    readonly isClosed: boolean;
    /** Resolves when the server follows the channel; rejects if it refuses to. */
    readonly ready: Promise<Subscription>;
    ack(message: Message | number): void;
    pull(): Promise<void>;
    drained(): Promise<void>;
    unsubscribe(): void;
}

export interface ErrorReport {
    error: Error;
    channel?: string;
    entry?: Message | Gap | Recall;
    tries?: number;
}

export interface ClientEvents {
    state: State;
    error: ErrorReport;
    connected: { connection: string; fenced?: false; [member: string]: unknown };
    expiring: { in: number };
    replaced: LongwireError;
    join: Presence;
    leave: Presence;
    presence: Presence;
    notify: Notify;
    membership: ControlMessage & { group: string; joined: boolean };
    read: ControlMessage;
    /** Of a request that nobody has asked for here: one of a page before this one, or of another run. */
    response: ControlMessage & { request: string; status: number; headers: Record<string, string>; body?: Json; body_base64?: string };
}

export class Client {
    /** Several servers: an array, or one text with commas. They are tried in this order. */
    constructor(url: string | string[], options?: ClientOptions);
    /** The address of the server in use, without a slash at the end. */
    readonly url: string;
    readonly state: State;
    readonly isOpen: boolean;
    readonly transport: TransportName;
    /** Why better transports are not used. */
    readonly fallBacks: { transport: TransportName; why: string }[];
    readonly connection: string | null;
    readonly user: string | null;
    readonly device: string | null;
    readonly session: string | null;
    open(): this;
    close(why?: string): Promise<void>;
    reconnect(afterMs?: number, why?: string): void;
    useTransports(names: TransportName[]): void;
    subscribe<T = any>(channel: string, handler: Handler<T>, options?: SubscribeOptions): Subscription;
    subscribe(channel: string, options?: SubscribeOptions): Subscription;
    unsubscribe(channel: string): void;
    subscription(channel: string): Subscription | undefined;
    publish(channel: string, data: Json | ArrayBuffer | ArrayBufferView | object, options?: PublishOptions): Promise<Receipt>;
    /** Asks a back end of the application, as fetch() of the platform. Of an address the path counts. */
    fetch(input: string | URL | Request, init?: FetchOptions): Promise<FetchResponse>;
    /** Requests without a response, those of a page before this one too. */
    readonly unanswered: { id: string; method: string; path: string }[];
    read(channel: string, message: Message | number): Promise<ReadMark>;
    receipts(channel: string, message: Message | number, page?: Page): Promise<Receipts>;
    presence(channel: string, page?: Page): Promise<Subscribers>;
    roster(channel: string, onChange: (roster: Roster) => void): Roster;
    setToken(token: ClientOptions['token']): void;
    on<Name extends keyof ClientEvents>(name: Name, listener: (detail: ClientEvents[Name]) => void): () => void;
    on(name: string, listener: (detail: any) => void): () => void;
}

/** Opens a client. */
export function connect(url: string | string[], options?: ClientOptions): Client;
