/* The client against a WebSocket and a fetch that the test holds in its hand: what the server says, byte for byte and at the
 * moment that the test chooses. node --test clients/js/test/client.test.js */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { test } from 'node:test';
import { connect } from '../index.js';

const QUICK = { base_ms: 1, cap_ms: 2 };
const SECONDS = 20;

async function until(what, why) {
    for (const deadline = Date.now() + SECONDS * 1000; !what();) {
        assert.ok(Date.now() < deadline, why ?? String(what));
        await new Promise(resolve => setTimeout(resolve, 2));
    }
}

/* All sockets that a client has opened, the newest last. */
function socketsOf() {
    const sockets = [];
    class Socket {
        readyState = 0;
        protocol = 'longwire.json.v1';
        sent = [];

        constructor(url, protocols) {
            Object.assign(this, { url, protocols });
            sockets.push(this);
        }

        send(text) { this.sent.push(JSON.parse(text)); }
        close() { this.readyState = 3; }
        open() { this.readyState = 1; this.onopen({}); return this; }
        say(...frames) { for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) }); }
        end(code, reason = '') { this.readyState = 3; this.onclose({ code, reason, wasClean: true }); }
        of(type) { return this.sent.filter(frame => frame.type === type); }
        ref(type) { return this.of(type).at(-1).ref; }
    }
    return { sockets, Socket, last: () => sockets.at(-1) };
}

const CONNECTED = { type: 'connected', connection: 'c1', session: 'c1', heartbeat: 25, resumed: false };

/* A client with what it said and reported. */
function open(options = {}, answers = {}) {
    const { sockets, Socket, last } = socketsOf();
    const asked = [];
    const fetch = async (url, init = {}) => {
        asked.push({ url: url.replace('http://s', ''), ...init });
        const answer = Object.entries(answers).find(([path]) => url.startsWith(`http://s${path}`))?.[1];
        if (answer === undefined) throw new TypeError('fetch failed');
        return typeof answer === 'function' ? answer(url, init) : new Response(JSON.stringify(answer), { status: answer.status ?? 200 });
    };
    const client = connect('http://s', { WebSocket: Socket, fetch, transports: ['websocket'], backOff: QUICK, ...options });
    const errors = [], states = [];
    client.on('error', ({ error }) => errors.push(error.message));
    client.on('state', ({ name }) => states.push(name));
    return { client, sockets, last, asked, errors, states };
}

const message = (channel, seq, data = seq) => ({ type: 'message', channel, epoch: 'e', seq, id: seq, time: 1, from: null, media: 'application/json', data });

/* The next socket, opened; a `connect` that asks for no session is answered, unless it is to be refused. */
async function live(context, isRefused = false) {
    await until(() => context.sockets.length > 0 && context.last().readyState === 0);
    const socket = context.last().open();
    socket.say(CONNECTED);
    if (!isRefused) for (const { session, ref } of socket.of('connect')) if (!session) socket.say({ ...CONNECTED, ref });
    return socket;
}

/* A socket of this subprotocol, of which only the number of frames counts. */
async function liveOf(context, protocol) {
    if (protocol === 'longwire.json.v1') return live(context);
    await until(() => context.sockets.length > 0 && context.last().readyState === 0);
    const socket = context.last();
    socket.protocol = protocol;
    socket.send = bytes => socket.sent.push(bytes);
    socket.open();
    socket.onmessage({ data: Uint8Array.of(0x01).buffer });   // `connected`
    await until(() => context.client.state.name === 'live');
    return socket;
}

test('both encodings are offered, the binary one first; one of them where it is asked for', async () => {
    for (const [encodings, wanted] of [[undefined, ['longwire.bin.v1', 'longwire.json.v1']], [['json'], ['longwire.json.v1']]]) {
        const context = open({ encodings });
        await until(() => context.sockets.length === 1);
        assert.deepEqual(context.last().protocols, wanted);
        assert.equal(context.last().url, 'ws://s/v1/ws');
        await context.client.close();
    }
});

for (const protocol of ['longwire.bin.v1', 'longwire.json.v1']) {
    test(`${protocol}: what cannot be said is refused to whoever said it, and the link goes on`, async () => {
        const context = open();
        const socket = await liveOf(context, protocol);
        const circle = {};
        circle.circle = circle;
        const wrong = [circle, { a: 10n }, () => {}, Symbol('x')];
        for (const data of wrong) await assert.rejects(context.client.publish('topic:a', data), TypeError);
        assert.throws(() => context.client.subscribe(undefined, () => {}), TypeError);
        if (protocol === 'longwire.bin.v1') {
            for (const options of [{ ttl: -1 }, { ttl: 1.5 }, { ttl: Infinity }, { ttl: 'x' }, { priority: 'soon' }])
                await assert.rejects(context.client.publish('topic:a', 'x', options), { code: 400 });
            for (const options of [{ after: -1 }, { last: 0.5 }, { mode: 'pull' }])
                await assert.rejects(context.client.subscribe('topic:a', () => {}, options).ready, { code: 400 });
        }
        const sent = socket.sent.length;
        const stored = context.client.publish('topic:a', 'fine');
        assert.equal(socket.sent.length, sent + 1);
        socket.end(1006);
        await liveOf(context, protocol);
        assert.equal(context.last().sent.length, 1);
        await context.client.close();
        await assert.rejects(stored, { code: 0 });
    });
}

test('what is sent again is what was published, whatever has become of it since', async () => {
    const context = open({ encodings: ['json'] });
    let socket = await live(context);
    const value = { count: 1 }, octets = new Uint8Array([1, 2]);
    const both = [context.client.publish('topic:a', value), context.client.publish('topic:a', octets)];
    value.count = 2;
    octets[0] = 9;
    socket.end(1006);
    socket = await live(context);
    assert.deepEqual(socket.of('publish').map(({ data, data_base64 }) => data ?? data_base64), [{ count: 1 }, 'AQI=']);
    await context.client.close();
    for (const one of both) await assert.rejects(one, { code: 0 });
});

test('a channel without a name is refused, and the link is live', async () => {
    const context = open();
    const socket = await live(context);
    const ready = context.client.subscribe('', () => {}).ready;
    await until(() => socket.of('subscribe').length === 1);
    socket.say({ type: 'error', code: 400, reason: 'no name', ref: socket.ref('subscribe') });
    await assert.rejects(ready, { code: 400 });
    socket.end(1006);
    await live(context);
    await until(() => context.client.state.name === 'live');
    await context.client.close();
});

test('a token is asked for at first and before it runs out; the link goes on', async () => {
    const why = [];
    const context = open({ token: question => { why.push(question.why); return `token ${why.length}`; } });
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    socket.say({ type: 'expiring', in: 0.05 });
    await until(() => socket.of('connect').length === 2);
    assert.deepEqual([why, socket.of('connect').map(({ token }) => token)], [['start', 'expiring'], ['token 1', 'token 2']]);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') });
    assert.deepEqual([context.sockets.length, context.client.state.name], [1, 'live']);
    await context.client.close();
});

test('a refused token is asked for again once; a second refusal ends the client', async () => {
    const why = [];
    const context = open({ token: question => { why.push(question.why); return 'old'; } });
    for (const count of [1, 2]) {
        await until(() => context.sockets.length === count);
        const socket = await live(context, true);
        socket.say({ type: 'error', code: 401, reason: 'this token has run out', ref: socket.ref('connect') });
    }
    await until(() => context.client.state.name === 'closed');
    assert.deepEqual([why, context.client.state.why, context.sockets.length], [['start', 'refused'], 'this token has run out', 2]);
});

test('a token that is all there is, is not said again when it ends', async () => {
    for (const [token, said] of [['only', 1], [({ why }) => why, 2]]) {
        const context = open({ token });
        const socket = await live(context);
        socket.say({ type: 'expiring', in: 0 });
        await new Promise(resolve => setTimeout(() => setImmediate(resolve), 1));   // behind the client's timer, which is as long
        assert.equal(socket.of('connect').length, said);
        await context.client.close();
    }
});

test('a client that ends because it is refused tells who waits to follow', async () => {
    const context = open({ token: 'worn' });
    const { ready } = context.client.subscribe('topic:a', () => {});
    const socket = await live(context, true);
    socket.say({ type: 'error', code: 401, reason: 'worn out', ref: socket.ref('connect') });
    await assert.rejects(ready, { code: 401, message: 'worn out' });
    assert.equal(context.client.state.name, 'closed');
});

test('a session waits for its answer, hands over its own channels, and acknowledges what is handled', async () => {
    const seen = [];
    const context = open({ session: true, device: 'phone', token: 't', onMessage: ({ channel, seq }) => { seen.push(`${channel} ${seq}`); } });
    context.client.subscribe('topic:own', ({ seq }) => { seen.push(`own ${seq}`); }, { keep: true });
    const socket = await live(context);
    assert.deepEqual(socket.of('connect'), [{ type: 'connect', token: 't', device: 'phone', session: true, ref: 1 }]);
    assert.equal(socket.of('subscribe').length, 0, 'the session is not there yet');
    socket.say({ ...CONNECTED, ref: 1, user: 'ann', device: 'phone', generation: 3, ticket: 'T1', reconnect: { base_ms: 1, factor: 2, cap_ms: 2, jitter: 1 } });
    await until(() => socket.of('subscribe').length === 1);
    assert.deepEqual(socket.of('subscribe')[0], { type: 'subscribe', channel: 'topic:own', keep: true, ref: 2 });
    socket.say({ type: 'subscribed', channel: 'topic:own', epoch: 'e', head: 4, ref: 2 });
    await until(() => context.client.state.name === 'live');
    socket.say({ type: 'subscribed', channel: 'user:ann', epoch: 'e', head: 8 }, message('user:ann', 7), message('user:ann', 8), message('topic:own', 5), message('group:g', 1));
    await until(() => socket.of('ack').length === 3);
    assert.deepEqual(seen, ['user:ann 7', 'user:ann 8', 'own 5', 'group:g 1']);
    assert.deepEqual(Object.fromEntries(socket.of('ack').map(({ channel, seq }) => [channel, seq])), { 'user:ann': 8, 'topic:own': 5, 'group:g': 1 });
    await context.client.close();
});

test('a ticket spares the token, and the token helps where the ticket is refused', async () => {
    let count = 0;
    const context = open({ session: true, token: () => `token ${++count}` });
    const first = await live(context);
    first.say({ ...CONNECTED, ref: 1, device: 'made-up', ticket: 'T1' });
    await until(() => context.client.state.name === 'live');
    first.end(1006);
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    assert.deepEqual(second.of('connect')[0], { type: 'connect', ticket: 'T1', device: 'made-up', session: true, ref: 1 });
    second.say({ type: 'error', code: 401, reason: 'stale', ref: 1 });
    await until(() => context.sockets.length === 3);
    const third = await live(context);
    assert.deepEqual(third.of('connect')[0], { type: 'connect', token: 'token 1', device: 'made-up', session: true, ref: 1 });
    await context.client.close();
});

/* A store in which an earlier page has left what it knew. */
function storeWith(kept) {
    const store = { text: JSON.stringify(kept), get: () => store.text, set: (name, text) => { store.text = text; }, kept: () => JSON.parse(store.text) };
    return store;
}

test('a ticket that was kept is shown beside the token, which says whose session is meant', async () => {
    const why = [];
    const keep = storeWith({ user: 'ann', ticket: 'T0', device: 'made-up', places: {} });
    const context = open({ session: true, keep, token: question => { why.push(question.why); return `token ${why.length}`; } });
    const first = await live(context);
    assert.deepEqual(first.of('connect')[0], { type: 'connect', token: 'token 1', ticket: 'T0', device: 'made-up', session: true, ref: 1 });
    first.say({ ...CONNECTED, ref: 1, user: 'ann', device: 'made-up', ticket: 'T1', resumed: true });
    await until(() => context.client.state.name === 'live');
    first.say({ type: 'expiring', in: 0.05 });
    await until(() => first.of('connect').length === 2);
    assert.equal(first.of('connect')[1].ticket, undefined, 'the link has its session');
    first.end(1006);
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    assert.deepEqual(second.of('connect')[0], { type: 'connect', ticket: 'T1', device: 'made-up', session: true, ref: 1 });
    assert.deepEqual(why, ['start', 'expiring']);
    await context.client.close();
});

test('what was kept of another user is not used: places, requests, the name of the device', async () => {
    const places = { 'user:ann': { epoch: 'e', seq: 5 }, 'group:g': { epoch: 'e', seq: 20 } };
    const keep = storeWith({ user: 'ann', ticket: 'T0', device: 'phone', places, requests: [{ id: 'r1', method: 'POST', path: '/orders' }] });
    const seen = [];
    const context = open({ session: true, keep, token: 'of bob', onMessage: ({ channel, seq }) => { seen.push(`${channel} ${seq}`); } });
    context.client.subscribe('group:g', ({ seq }) => { seen.push(`own ${seq}`); });
    const first = await live(context);
    first.say({ type: 'error', code: 400, reason: 'the token names another device', ref: 1 });
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    assert.deepEqual(second.of('connect')[0], { type: 'connect', token: 'of bob', session: true, ref: 1 });
    second.say({ ...CONNECTED, ref: 1, user: 'bob', device: 'pad', ticket: 'T1', resumed: true },
        { type: 'subscribed', channel: 'group:g', epoch: 'e', head: 12, after: 10 }, message('group:g', 11), message('group:g', 12));
    await until(() => seen.length === 2);
    assert.deepEqual(seen, ['own 11', 'own 12']);
    await until(() => second.of('subscribe').length === 1);
    assert.equal(second.of('subscribe')[0].after, undefined);
    second.say({ type: 'subscribed', channel: 'group:g', epoch: 'e', head: 12, ref: second.ref('subscribe') });
    await until(() => context.client.state.name === 'live');
    await until(() => keep.kept().places['group:g']?.seq === 12);
    assert.deepEqual([second.of('request'), keep.kept().requests, keep.kept().user, keep.kept().device], [[], [], 'bob', 'pad']);
    assert.deepEqual(Object.keys(keep.kept().places), ['group:g']);
    await context.client.close();
});

/* Transports over HTTP are not told who the user is. */
test('what another user left is known by the token where nobody says who this is', async () => {
    const jwt = sub => ['{"alg":"HS256"}', JSON.stringify({ sub, note: '\u00ff\u00fe?>' }), 'sign'].map(part => Buffer.from(part).toString('base64url')).join('.');
    const places = { 'topic:a': { epoch: 'e', seq: 20 } };
    const left = { subject: 'ann', user: 'ann', device: 'phone', ticket: 'T0', cursor: 'C0', covered: ['topic:b'], places, requests: [{ id: 'r1', method: 'POST', path: '/orders' }] };
    for (const [sub, asked, kept] of [['ann', { after: 20, device: 'phone' }, 1], ['bob', { after: undefined, device: null }, 0]]) {
        const keep = storeWith(left), bodies = [];
        const poll = (url, { body, signal }) => new Promise((resolve, reject) => {
            bodies.push({ url, ...JSON.parse(body) });
            signal.addEventListener('abort', () => reject(signal.reason));
        });
        const context = open({ keep, token: () => jwt(sub), transports: ['poll'] }, { '/v1/subscribe': poll });
        context.client.subscribe('topic:a', () => {});
        await until(() => bodies.length === 1);
        assert.equal(bodies[0].channels[0].after, asked.after, `as ${sub}`);
        await until(() => keep.kept().subject === sub);
        assert.deepEqual([context.client.device, keep.kept().requests.length], [asked.device, kept], `as ${sub}`);
        await context.client.close();
    }
});

test('the last messages of a group that was left are acknowledged behind it, and not handed over twice', async () => {
    const seen = [];
    const context = open({ session: true, device: 'phone', token: 't', onMessage: ({ channel, seq }) => { seen.push(`${channel} ${seq}`); },
        onGap: ({ from, to }) => { seen.push(`gap ${from} to ${to}`); } });
    const session = { ...CONNECTED, session: 'ann/phone', user: 'ann', device: 'phone', generation: 1 };
    const gap = (from, to) => ({ type: 'gap', channel: 'group:a', epoch: 'e', from, to, why: 'expired' });
    const rest = [{ type: 'subscribed', channel: 'group:a', epoch: 'e', head: 4, after: 0 }, message('group:a', 1), gap(2, 2), message('group:a', 3), gap(4, 4),
        { type: 'unsubscribed', channel: 'group:a' }];
    for (let round = 1; round < 4; round++) {
        const socket = await live(context, true);
        socket.say({ ...session, generation: round, ref: socket.ref('connect') }, ...rest);
        await until(() => socket.of('ack').length > 0);
        assert.deepEqual(socket.of('ack'), [{ type: 'ack', channel: 'group:a', seq: 4, epoch: 'e' }]);
        assert.deepEqual(seen, ['group:a 1', 'gap 2 to 2', 'group:a 3', 'gap 4 to 4']);
        if (round < 3) socket.end(1006);
        else socket.say({ type: 'subscribed', channel: 'group:a', epoch: 'e', head: 8, after: 8 }, message('group:a', 9));
    }
    await until(() => seen.includes('group:a 9'));
    assert.deepEqual(context.errors.filter(error => !/link/.test(error)), []);
    context.client.close();
});

test('a session that is not fenced yet acknowledges once it is, and has a new ticket then', async () => {
    const fenced = [];
    const context = open({ session: true, token: 't', onMessage: () => {} });
    context.client.on('connected', frame => fenced.push(frame.fenced ?? true));
    const first = await live(context);
    first.say({ ...CONNECTED, ref: 1, user: 'ann', device: 'phone', generation: 1, ticket: 'T1' });
    await until(() => context.client.state.name === 'live');
    first.say({ type: 'subscribed', channel: 'user:ann', epoch: 'e', head: 1 }, message('user:ann', 1));
    first.end(1006);
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    second.say({ ...CONNECTED, ref: 1, user: 'ann', device: 'phone', generation: 1, ticket: 'T1', fenced: false });
    await until(() => context.client.state.name === 'live');
    assert.deepEqual(second.of('ack'), []);
    second.say({ ...CONNECTED, ref: 1, user: 'ann', device: 'phone', generation: 2, ticket: 'T2', resumed: true });
    await until(() => fenced.length === 3);
    assert.deepEqual(second.of('ack'), [], 'the channel is not answered on this link yet: the server would refuse it');
    second.say({ type: 'subscribed', channel: 'user:ann', epoch: 'e', head: 1 });
    await until(() => second.of('ack').some(({ channel, seq }) => channel === 'user:ann' && seq === 1));
    assert.deepEqual(fenced, [true, false, true]);
    second.end(1006);
    await until(() => context.sockets.length === 3);
    assert.equal((await live(context)).of('connect')[0].ticket, 'T2');
    await context.client.close();
});

test('what a link without a session follows unasked goes to onMessage, and ends with the link', async () => {
    const seen = [];
    const context = open({ onMessage: ({ channel, seq }) => { seen.push(`${channel} ${seq}`); } });
    const first = await live(context);
    await until(() => context.client.state.name === 'live');
    first.say({ type: 'subscribed', channel: 'topic:a', epoch: 'e', head: 3 }, message('topic:a', 4));
    await until(() => seen.length === 1);
    first.end(1006);
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    await until(() => context.client.state.name === 'live');
    assert.deepEqual([second.of('subscribe'), first.of('ack')], [[], []]);
    second.say({ type: 'subscribed', channel: 'topic:a', epoch: 'e', head: 9 }, message('topic:a', 10), { type: 'unsubscribed', channel: 'topic:a' });
    await until(() => seen.length === 2);
    assert.deepEqual([seen, context.sockets.length], [['topic:a 4', 'topic:a 10'], 2]);
    await context.client.close();
});

test('a session without a WebSocket: polls acknowledge by their cursor, once all is handled', async () => {
    const bodies = [];
    let free = null, number = 0;
    const poll = (url, { body, signal }) => new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new DOMException('x', 'AbortError')));
        bodies.push(JSON.parse(body));
        number++;
        if (number <= 2) resolve(new Response(JSON.stringify({ messages: [message('user:ann', number)], cursor: `cursor ${number}` })));
    });
    const context = open({ session: true, user: 'ann', device: 'tablet', transports: ['poll'], onMessage: () => new Promise(resolve => { free = resolve; }) },
        { '/v1/subscribe?session=1&user=ann': poll, '/v1/ack': { places: {} } });
    await until(() => free !== null);
    assert.equal(bodies.length, 1, 'the first message is not handled yet');
    const done = free;
    free = null;
    done();
    await until(() => free !== null);
    free();
    await until(() => bodies.length === 3);
    assert.deepEqual(bodies.map(({ cursor }) => cursor), [undefined, 'cursor 1', 'cursor 2']);
    await until(() => context.asked.some(({ url }) => url.startsWith('/v1/ack')));
    const { body } = context.asked.find(({ url }) => url.startsWith('/v1/ack'));   // a token need not name the device, and then the query counts for nothing
    assert.equal(JSON.parse(body).device, 'tablet');
    await context.client.close();
});

test('an acknowledgement over HTTP that is put off is sent again', async () => {
    let acks = 0;
    const stream = () => new Response(new ReadableStream({
        start(controller) {
            const said = { ...message('user:ann', 1), cursor: 'c1.' };
            controller.enqueue(new TextEncoder().encode(`retry: 1000\n\nid: c1.\ndata: ${JSON.stringify(said)}\n\n`));
        },
    }), { headers: { 'Content-Type': 'text/event-stream' } });
    const context = open({ session: true, device: 'web', user: 'ann', transports: ['sse'], onMessage: () => {} },
        { '/v1/subscribe': stream, '/v1/ack': () => new Response('{"places":{}}', { status: acks++ ? 200 : 503 }) });
    await until(() => acks === 2);
    const bodies = context.asked.filter(({ url }) => url.startsWith('/v1/ack')).map(({ body }) => JSON.parse(body).places);
    assert.deepEqual(bodies, [{ 'user:ann': 1 }, { 'user:ann': 1 }]);
    await context.client.close();
});

test('a replaced client is closed, and says so', async () => {
    const context = open({ session: true });
    const socket = await live(context);
    let replaced = 0;
    context.client.on('replaced', () => replaced++);
    socket.say({ type: 'replaced' });
    socket.end(4001, 'replaced');
    await until(() => context.client.state.name === 'closed');
    assert.deepEqual([replaced, context.sockets.length], [1, 1]);
});

test('a channel that the server ends by itself is told; one that was left is not', async () => {
    const context = open();
    const ended = context.client.subscribe('topic:a', () => {});
    context.client.subscribe('topic:b', () => {});
    const socket = await live(context);
    await until(() => socket.of('subscribe').length === 2);
    for (const { channel, ref } of socket.of('subscribe')) socket.say({ type: 'subscribed', channel, epoch: 'e', head: 0, ref });
    context.client.unsubscribe('topic:b');
    socket.say({ type: 'unsubscribed', channel: 'topic:b', ref: socket.ref('unsubscribe') }, { type: 'unsubscribed', channel: 'topic:a' });
    assert.deepEqual([ended.isClosed, context.errors], [true, ['topic:a may not be followed any more']]);
    assert.equal(context.client.state.name, 'live');
    await context.client.close();
});

test('close codes: what was revoked does not come again, what was cut off does', async () => {
    for (const [code, count] of [[4004, 1], [4002, 2], [1001, 2], [1002, 1]]) {
        const context = open({});
        (await live(context)).end(code, 'so it is');
        await until(() => context.client.state.name === 'closed' || context.sockets.length === 2);
        assert.equal(context.sockets.length, count, `after ${code}`);
        await context.client.close();
    }
});

test('presence, heads and membership are told, and are no messages of the log', async () => {
    const told = [];
    const context = open({ session: true, onMessage: ({ seq }) => { told.push(`message ${seq}`); } });
    const tell = entry => told.push(entry.type);
    context.client.subscribe('topic:a', () => {}, { presence: true, onPresence: tell, mode: 'notify', onNotify: ({ head }) => told.push(`head ${head}`) });
    for (const name of ['join', 'membership']) context.client.on(name, ({ user, group }) => told.push(`${name} of ${user ?? group}`));
    const socket = await live(context);
    socket.say({ ...CONNECTED, ref: 1 });
    await until(() => socket.of('subscribe').length === 1);
    assert.deepEqual(socket.of('subscribe')[0], { type: 'subscribe', channel: 'topic:a', presence: true, mode: 'notify', ref: 2 });
    socket.say({ type: 'join', channel: 'topic:a', user: 'bob', device: 'd', count: 2 }, { type: 'notify', channel: 'topic:a', head: 9 },
        { type: 'membership', channel: 'user:ann', epoch: 'e', seq: 3, id: 1, time: 1, from: null, group: 'g', joined: true }, message('user:ann', 4),
        { type: 'news of a later version', channel: 'user:ann' });
    await until(() => told.length === 5);
    assert.deepEqual(told, ['join', 'join of bob', 'head 9', 'membership of g', 'message 4']);
    await context.client.close();
});

test('notify: pull() reads what the log holds, over several pages, each message once', async () => {
    const seen = [];
    const pages = url => {
        const after = Number(/after=(\d+)/.exec(url)[1]);
        const messages = [after + 1, after + 2].filter(seq => seq <= 5).map(seq => message('topic:a', seq));
        return new Response(JSON.stringify({ head: 5, messages }));
    };
    const context = open({ mode: 'notify' }, { '/v1/channels/topic%3Aa/messages': pages });
    const subscription = context.client.subscribe('topic:a', ({ seq }) => { seen.push(seq); }, { after: 0 });
    await live(context);
    await subscription.pull();
    await subscription.pull();
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
    await context.client.close();
});

test('a seq that is left out: the link is left, and asked again from the last place', async () => {
    const seen = [];
    const context = open();
    context.client.subscribe('topic:a', ({ seq }) => { seen.push(seq); });
    const first = await live(context);
    await until(() => first.of('subscribe').length === 1);
    first.say({ type: 'subscribed', channel: 'topic:a', epoch: 'e', head: 0, ref: first.ref('subscribe') }, message('topic:a', 1), message('topic:a', 3));
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    await until(() => second.of('subscribe').length === 1);
    assert.deepEqual([second.of('subscribe')[0].after, second.of('subscribe')[0].epoch], [1, 'e']);
    second.say(message('topic:a', 2), message('topic:a', 3));
    assert.deepEqual(seen, [1, 2, 3]);
    await context.client.close();
});

test('an application that is far behind: the link ends, and comes again when half is handled', async () => {
    let handled = 0;
    let free = [];
    const context = open();
    context.client.subscribe('topic:a', () => new Promise(resolve => free.push(resolve)).then(() => { handled++; }));
    const first = await live(context);
    for (let seq = 1; seq <= 10001; seq++) first.say(message('topic:a', seq));
    await until(() => context.client.state.name === 'away');
    assert.equal(context.sockets.length, 1);
    while (context.sockets.length === 1) {
        const next = free;
        free = [];
        next.forEach(resolve => resolve());
        await new Promise(resolve => setImmediate(resolve));
    }
    assert.ok(handled >= 4999 && handled <= 5001, `${handled} are handled`);
    const second = await live(context);
    await until(() => second.of('subscribe').length === 1);
    assert.equal(second.of('subscribe')[0].after, 10000);
    await context.client.close();
});

test('heartbeats: a client that offers them sends one when it has sent nothing for an interval; a dead link is found out', async () => {
    const context = open({ heartbeat: 120, patienceMs: 200 });
    await until(() => context.sockets.length === 1);
    const socket = context.last().open();
    assert.equal(socket.of('connect')[0].heartbeat, 120);
    socket.say(CONNECTED, { ...CONNECTED, heartbeat: 0.02, ref: 1 });
    for (const count of [1, 2, 3]) {
        await until(() => socket.of('ping').length === count);
        socket.say({ type: 'pong' });
    }
    await until(() => context.sockets.length === 2, 'no answer came to the last one');
    await context.client.close();
});

test('reconnect: not before the time that the server told, and with the policy that it gave', async () => {
    const context = open();
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const before = Date.now();
    socket.say({ type: 'reconnect', after: 5000 });
    assert.equal(context.client.state.name, 'away');
    assert.ok(context.client.state.until >= before + 5000 && context.client.state.until <= before + 7000);
    await context.client.close();
});

test('what may succeed later ends the link and is tried again; what may not is refused alone', async () => {
    const context = open();
    const good = context.client.subscribe('topic:a', () => {}), bad = context.client.subscribe('topic:b', () => {});
    const first = await live(context);
    await until(() => first.of('subscribe').length === 2);
    first.say({ type: 'error', code: 503, reason: 'the log cannot be read', ref: first.of('subscribe')[0].ref });
    await until(() => context.sockets.length === 2);
    const second = await live(context);
    await until(() => second.of('subscribe').length === 2);
    second.say({ type: 'error', code: 403, reason: 'not yours', ref: second.of('subscribe')[1].ref },
        { type: 'subscribed', channel: 'topic:a', epoch: 'e', head: 0, ref: second.of('subscribe')[0].ref });
    assert.equal((await good.ready).head, 0);
    await assert.rejects(bad.ready, { code: 403, channel: 'topic:b' });
    assert.equal(context.client.state.name, 'live');
    await context.client.close();
});

test('a limit of the server: nothing is sent before it says so, then little at a time, and the link stays', async () => {
    const context = open();
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const published = ['a', 'b', 'c', 'd'].map(name => context.client.publish(`topic:${name}`, name));
    const sent = socket.of('publish');
    assert.equal(sent.length, 4);
    const began = Date.now();
    for (const { ref } of sent) socket.say({ type: 'error', code: 429, reason: 'publishes_per_user_per_s', after: 50, ref });
    await until(() => socket.of('publish').length > 4);
    assert.ok(Date.now() - began >= 50);
    const seen = new Set();
    let most = 0;
    await until(() => {
        const open = socket.of('publish').slice(4).filter(({ ref }) => !seen.has(ref));
        most = Math.max(most, open.length);
        for (const { ref, channel } of open) {
            seen.add(ref);
            socket.say({ type: 'published', channel, epoch: 'e', seq: 1, id: 1, time: 1, ref });
        }
        return seen.size === 4;
    });
    assert.equal((await Promise.all(published)).length, 4);
    assert.deepEqual(new Set(socket.of('publish').slice(4).map(({ key }) => key)), new Set(sent.map(({ key }) => key)));
    assert.equal(most, 1);
    assert.equal(context.sockets.length, 1);
    await context.client.close();
});

test('a limit of subscribes: the channel is asked for again on the same link', async () => {
    const context = open();
    const followed = ['topic:a', 'topic:b', 'topic:c'].map(name => context.client.subscribe(name, () => {}));
    const socket = await live(context);
    await until(() => socket.of('subscribe').length === 3);
    const [first, second, third] = socket.of('subscribe');
    socket.say({ type: 'subscribed', channel: 'topic:a', epoch: 'e', head: 0, ref: first.ref });
    for (const { ref } of [second, third]) socket.say({ type: 'error', code: 429, reason: 'subscribes', after: 20, ref });
    context.client.unsubscribe('topic:c');
    await until(() => socket.of('subscribe').length === 4);
    const again = socket.of('subscribe')[3];
    assert.equal(again.channel, 'topic:b');
    socket.say({ type: 'subscribed', channel: 'topic:b', epoch: 'e', head: 7, ref: again.ref });
    assert.equal((await followed[1].ready).head, 7);
    assert.deepEqual([context.client.state.name, context.sockets.length, socket.of('unsubscribe').length], ['live', 1, 0]);
    await context.client.close();
});

test('publish: sent again where it may succeed, refused where it may not, and an unknown end tells the key', async () => {
    const context = open();
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const stored = context.client.publish('topic:a', 'x', { key: 'k1' });
    socket.say({ type: 'error', code: 429, reason: 'too many', ref: socket.ref('publish') });
    await until(() => socket.of('publish').length === 2);
    assert.deepEqual(socket.of('publish').map(({ key, data }) => [key, data]), [['k1', 'x'], ['k1', 'x']]);
    socket.say({ type: 'published', channel: 'topic:a', epoch: 'e', seq: 1, id: 1, time: 1, ref: socket.ref('publish') });
    assert.deepEqual(await stored, { channel: 'topic:a', epoch: 'e', seq: 1, id: 1, time: 1 });
    const refused = context.client.publish('nowhere:a', {});
    socket.say({ type: 'error', code: 404, reason: 'no such namespace', ref: socket.ref('publish') });
    await assert.rejects(refused, { code: 404 });
    await assert.rejects(context.client.publish('topic:a', 1, { timeoutMs: 5 }), ({ code, key }) => code === 0 && key.length === 32);
    await assert.rejects(async () => context.client.publish('topic:a'), TypeError);
    await context.client.close();
});

test('publish by HTTP: a request that is never answered is sent again with its key, and what waits behind it goes on', async () => {
    const keys = [];
    const silent = signal => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    const context = open({ patienceMs: 20, transports: ['poll'] }, { '/v1/channels/': (url, { headers, signal }) => {
        keys.push(headers['Idempotency-Key']);
        return keys.length === 1 ? silent(signal) : new Response(JSON.stringify({ seq: keys.length }), { status: 201 });
    } });
    const [first, second] = ['k1', 'k2'].map(key => context.client.publish('topic:a', 'x', { key, via: 'http' }));
    assert.equal((await first).seq, 2);
    assert.equal((await second).seq, 3);
    assert.deepEqual(keys, ['k1', 'k1', 'k2']);
    await context.client.close();
});

test('publish: sent again when its pause ends, whatever the clock says', async t => {
    t.mock.method(Date, 'now', () => 1e12);   // a timer may fire before the clock has moved as far
    let posts = 0;
    const context = open({ transports: ['poll'] }, { '/v1/channels/': () => new Response('{"seq":1}', { status: posts++ ? 201 : 503 }) });
    assert.equal((await context.client.publish('topic:a', 'x', { timeoutMs: SECONDS * 1000 })).seq, 1);
    await context.client.close();
});

test('publish: no more than 64 at once on a link, the others in their order', async () => {
    const context = open();
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const all = Array.from({ length: 100 }, (_, i) => context.client.publish('topic:a', i));
    assert.equal(socket.of('publish').length, 64);
    for (let i = 0; i < 100; i++) socket.say({ type: 'published', channel: 'topic:a', epoch: 'e', seq: i + 1, id: 1, time: 1, ref: socket.of('publish')[i].ref });
    assert.deepEqual((await Promise.all(all)).map(({ seq }) => seq), Array.from({ length: 100 }, (_, i) => i + 1));
    assert.deepEqual(socket.of('publish').map(({ data }) => data), Array.from({ length: 100 }, (_, i) => i));
    await context.client.close();
});

test('a status of the server is no reason to leave a transport; a WebSocket that fails while the server answers is', async () => {
    const busy = open({ transports: ['poll', 'sse'] }, { '/healthz': {}, '/v1/subscribe': { status: 503, detail: 'full' } });
    busy.client.subscribe('topic:a', () => {});
    await until(() => busy.states.filter(name => name === 'away').length >= 3);
    assert.deepEqual([busy.client.transport, busy.client.fallBacks], ['poll', []]);
    await busy.client.close();
    const blocked = open({ transports: ['websocket', 'poll'] }, { '/healthz': {} });
    for (const count of [1, 2]) {
        await until(() => blocked.sockets.length === count);
        blocked.last().end(1006);
    }
    await until(() => blocked.client.transport === 'poll');
    assert.equal(blocked.client.fallBacks[0].transport, 'websocket');
    await blocked.client.close();
});

test('keys are the same bytes on each way, and what no header can say is refused at once', async () => {
    const context = open({}, { '/v1/channels/': () => new Response('{"seq":1}', { status: 201 }) });
    await context.client.publish('topic:a', 'x', { key: 'clé 猫', collapseKey: 'ü', via: 'http' });
    const { headers } = context.asked.find(({ method }) => method === 'POST');
    const octets = name => Buffer.from(new Headers(headers).get(name), 'latin1').toString();
    assert.deepEqual([octets('Idempotency-Key'), octets('Collapse-Key')], ['clé 猫', 'ü']);
    await assert.rejects(context.client.publish('topic:a', 'x', { collapseKey: 'a\nb', via: 'http' }), TypeError);
    await context.client.publish('topic:a', 'x', { via: 'http' });
    await context.client.close();
});

test('a string is the payload itself, whatever its media type and its way', async () => {
    const context = open({}, { '/v1/channels': () => new Response('{"seq":1}', { status: 201 }) });
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const byHttp = context.client.publish('topic:a', '{"a":1}', { media: 'application/json', via: 'http' });
    await byHttp;
    assert.deepEqual(context.asked.filter(({ method }) => method === 'POST').map(({ body }) => body), ['{"a":1}']);
    const byFrame = context.client.publish('topic:b', '{"a":1}', { media: 'application/json' });
    await until(() => socket.of('publish').length === 1);
    assert.equal(socket.of('publish')[0].data, '{"a":1}');
    socket.say({ type: 'published', channel: 'topic:b', seq: 1, ref: socket.ref('publish') });
    await byFrame;
    await context.client.close();
});

test('a read mark whose link the client itself leaves is refused, and not left open', async () => {
    for (const leave of [client => client.close(), client => client.reconnect(1000), client => client.useTransports(['poll'])]) {
        const context = open();
        const socket = await live(context);
        await until(() => context.client.state.name === 'live');
        const mark = context.client.read('topic:a', 7);
        assert.equal(socket.of('read').length, 1);
        leave(context.client);
        const late = new Promise(resolve => setTimeout(resolve, SECONDS * 1000, 'open').unref());
        assert.match(await Promise.race([mark.catch(error => error.message), late]), /left/);
        await context.client.close();
    }
});

test('receipts, presence and read marks are asked of the HTTP API', async () => {
    const receipts = { channel: 'user:ann', seq: 4, devices: [] }, subscribers = { channel: 'group:a', count: 0, subscribers: [] };
    const context = open({ token: 'secret', session: true }, {
        '/v1/channels/user%3Aann/messages/4/receipts': receipts, '/v1/channels/group%3Aa/subscribers': subscribers, '/v1/ack': { read: { 'group:a': 7 } },
    });
    assert.deepEqual(await context.client.receipts('user:ann', { seq: 4 }, { limit: 5 }), receipts);
    assert.deepEqual(await context.client.presence('group:a', { next: 'w' }), subscribers);
    assert.deepEqual(await context.client.read('group:a', 7), { type: 'read', channel: 'group:a', seq: 7 });   // no link is live
    assert.deepEqual(context.asked.map(({ url, method, body }) => [method, url, body]), [
        ['GET', '/v1/channels/user%3Aann/messages/4/receipts?limit=5', undefined], ['GET', '/v1/channels/group%3Aa/subscribers?next=w', undefined],
        ['POST', '/v1/ack', '{"read":{"group:a":7}}'],
    ]);
    assert.ok(context.asked.every(({ headers }) => headers.Authorization === 'Bearer secret'));
    await context.client.close();
});

test('a session asks who comes and goes in its groups, and keeps the set', async () => {
    const sets = [['ann/web', 'bob/phone'], ['ann/web', 'bob/phone', 'eve/pad']];
    const page = () => { const all = sets.shift().map(name => { const [user, device] = name.split('/'); return { user, device }; }); return new Response(JSON.stringify({ channel: 'group:a', count: all.length, subscribers: all })); };
    const context = open({ session: true, presence: true, user: 'ann' }, { '/v1/channels/group%3Aa/subscribers': page });
    const socket = await live(context);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') }, { type: 'subscribed', channel: 'user:ann', epoch: 'e', head: 0 },
        { type: 'subscribed', channel: 'group:a', epoch: 'e', head: 3 });
    assert.deepEqual(socket.of('subscribe').map(({ channel, presence }) => [channel, presence]), [['group:a', true]]);
    socket.say({ type: 'subscribed', channel: 'group:a', epoch: 'e', head: 3, ref: socket.ref('subscribe') });
    const told = [];
    const roster = context.client.roster('group:a', ({ users }) => told.push(`${users}`));
    await until(() => told.length === 1);
    socket.say({ type: 'leave', channel: 'group:a', user: 'bob', device: 'phone', count: 1 }, { type: 'join', channel: 'group:b', user: 'x', device: 'y', count: 9 },
        { type: 'join', channel: 'group:a', user: 'bob', device: 'phone', count: 2 });
    socket.say({ type: 'join', channel: 'group:a', user: 'zoe', device: 'tv', count: 4 });   // one was missed: it asks
    await until(() => told.at(-1) === 'ann,bob,eve');
    assert.deepEqual(told.slice(0, 3), ['ann,bob', 'ann', 'ann,bob']);
    roster.close();
    socket.say({ type: 'presence', channel: 'group:a', count: 1 });
    assert.equal(sets.length, 0);
    await context.client.close();
});

test('a group that was left and joined again, while a device was away too, goes on', async () => {
    const heard = [], gaps = [];
    const context = open({ session: true, user: 'ann', onMessage: ({ channel, seq }) => heard.push(`${channel} ${seq}`), onGap: ({ from, to, why }) => gaps.push([from, to, why]) });
    let socket = await live(context);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') }, { type: 'subscribed', channel: 'group:a', epoch: 'e', head: 1, after: 0 }, message('group:a', 1));
    socket.say({ type: 'unsubscribed', channel: 'group:a' }, { type: 'subscribed', channel: 'group:a', epoch: 'e', head: 5, after: 4 }, message('group:a', 5), message('group:a', 6));
    socket.end(1006);
    socket = await live(context);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') }, { type: 'subscribed', channel: 'group:a', epoch: 'e', head: 9, after: 8 }, message('group:a', 9), message('group:a', 10));
    await until(() => heard.length === 5);
    assert.deepEqual(heard, ['group:a 1', 'group:a 5', 'group:a 6', 'group:a 9', 'group:a 10']);
    assert.deepEqual(gaps, [[7, 8, 'unfollowed']]);
    assert.deepEqual([context.sockets.length, context.errors], [2, []]);
    await context.client.close();
});

for (const session of [false, true]) test(`what is published to the connection comes unasked, ${session ? 'in a session' : 'without a session'}`, async () => {
    const heard = [];
    const context = open({ ...(session && { session, user: 'ann' }), onMessage: ({ channel, seq }) => heard.push(`${channel} ${seq}`) });
    if (!session) context.client.subscribe('topic:a', () => {});
    let socket = await live(context);
    const connected = () => session ? [{ ...CONNECTED, ref: socket.ref('connect') }] : [];
    socket.say(...connected(), message('conn:tab-7', 1), message('conn:tab-7', 2));
    socket.end(1006);
    socket = await live(context);    // a key that a gateway gave is the same on the next link, and nothing of it is kept meanwhile
    socket.say(...connected(), message('conn:tab-7', 9));
    await until(() => heard.length === 3);
    assert.deepEqual(heard, ['conn:tab-7 1', 'conn:tab-7 2', 'conn:tab-7 9']);
    assert.deepEqual(socket.of('subscribe').filter(({ channel }) => channel !== 'topic:a'), []);
    assert.deepEqual([context.sockets.length, context.errors], [2, []]);
    await context.client.close();
});

/* --- several servers -------------------------------------------------------------------------------------------------- */

/* A client of several servers; `answers` says what each URL answers, and nothing else is there. */
function openMany(urls, options, answers) {
    const { sockets, Socket, last } = socketsOf();
    const asked = [];
    const fetch = async url => {
        asked.push(url);
        const answer = Object.entries(answers).find(([begin]) => url.startsWith(begin))?.[1];
        if (answer === undefined) throw new TypeError('fetch failed');
        return new Response(JSON.stringify(answer));
    };
    const client = connect(urls, { WebSocket: Socket, fetch, transports: ['websocket'], backOff: QUICK, ...options });
    const states = [];
    client.on('error', () => {});
    client.on('state', ({ name }) => states.push(name));
    return { client, sockets, last, asked, states, hosts: () => sockets.map(({ url }) => url.slice('ws://'.length, -'/v1/ws'.length)) };
}

const newest = async context => {
    await until(() => context.sockets.length > 0 && context.last().readyState === 0);
    return context.last();
};

test('a server that is not there is left for the next one, without a pause', async () => {
    const context = openMany('http://a,http://b', {}, { 'http://b/healthz': {} });
    (await newest(context)).end(1006);
    await live(context);
    assert.deepEqual(context.hosts(), ['a', 'b']);
    assert.equal(context.states.includes('away'), false);
    assert.equal(context.client.url, 'http://b');
    await context.client.close();
});

test('a server that ends each connection at once keeps no client of Node.js waiting', async () => {
    const program = new URL('first_fetch.js', import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 60000 });
    assert.equal(stdout, 'away\n');
});

test('when none of the servers is there, the client waits, and tries all of them again', async () => {
    const context = openMany(['http://a', 'http://b'], {}, {});
    for (let tries = 0; tries < 4; tries++) (await newest(context)).end(1006);
    await newest(context);
    assert.deepEqual(context.hosts(), ['a', 'b', 'a', 'b', 'a']);
    assert.equal(context.states.filter(name => name === 'away').length, 2);
    await context.client.close();
});

test('`reconnect` names another server', async () => {
    const context = openMany('http://a', {}, {});
    const socket = await live(context);
    socket.say({ type: 'reconnect', after: 1, where: 'tcp://c:7400,http://c:8080' });
    await live(context);
    assert.deepEqual(context.hosts(), ['a', 'c:8080']);
    await context.client.close();
});

test('`allocate` says where to connect, at first and after each lost link', async () => {
    const told = { nodes: [{ node: 'n2', http: 'http://n2' }, { node: 'n3', http: 'http://n3' }], reconnect: { base_ms: 1, cap_ms: 2 }, wait_ms: 0 };
    const context = openMany('http://gone,http://a', { allocate: true, user: 'ann', region: 'eu' }, { 'http://a/v1/allocate': told });
    (await live(context)).end(1006);
    told.nodes.reverse();
    await live(context);
    assert.deepEqual(context.hosts(), ['n2', 'n3']);
    assert.deepEqual(context.asked, Array(2).fill(['http://gone', 'http://a']).flat().map(url => `${url}/v1/allocate?user=ann&region=eu`));
    await context.client.close();
});

test('a client waits for the turn that `allocate` gives it, and asks no second time for that', async () => {
    const told = { nodes: [{ node: 'n2', http: 'http://n2' }], wait_ms: 20 };
    const context = openMany('http://a', { allocate: 'http://router' }, { 'http://router/v1/allocate': told });
    await live(context);
    assert.deepEqual(context.hosts(), ['n2']);
    assert.equal(context.asked.length, 1);
    assert.deepEqual(context.states.slice(0, 3), ['away', 'connecting', 'live']);
    await context.client.close();
});

test('without an answer of `allocate` the named servers are tried', async () => {
    const context = openMany('http://a', { allocate: true }, {});
    await live(context);
    assert.deepEqual(context.hosts(), ['a']);
    await context.client.close();
});

/* --- requests ------------------------------------------------------------------------------------------------------ */

const response = (request, more = {}) => ({ type: 'response', channel: 'device:ann/phone', epoch: 'e', seq: 5, id: 5, time: 1, from: null, request, status: 200, headers: {}, ...more });

test('fetch() has the shape of the platform: bodies, headers, responses', async () => {
    const context = open({ encodings: ['json'], session: false });
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const get = context.client.fetch('/hello?a=%20b', { id: 'r1', headers: { Accept: 'text/plain' } });
    await until(() => socket.of('request').length === 1);
    assert.deepEqual(socket.of('request')[0], { type: 'request', id: 'r1', method: 'GET', path: '/hello?a=%20b', headers: { accept: 'text/plain' }, ref: socket.ref('request') });
    socket.say({ type: 'accepted', id: 'r1', ref: socket.ref('request') }, response('r1', { headers: { 'Content-Type': 'text/plain' }, body: 'hi' }));
    const answer = await get;
    assert.deepEqual([answer.status, answer.headers.get('content-type'), await answer.text(), answer.id, answer.replayed], [200, 'text/plain', 'hi', 'r1', false]);

    const post = context.client.fetch(new Request('http://any.example/orders', { method: 'POST', body: '{"n":1}', headers: { 'Content-Type': 'application/json' } }), { timeoutMs: 500 });
    await until(() => socket.of('request').length === 2);
    const { id, path, body_base64: base64, headers, timeout_ms: ms } = socket.of('request')[1];
    assert.deepEqual([path, atob(base64), headers, ms], ['/orders', '{"n":1}', { 'content-type': 'application/json' }, 500]);
    socket.say(response(id, { status: 201, headers: { 'content-type': 'application/json' }, body: { n: 1 } }));
    assert.deepEqual(await (await post).json(), { n: 1 });

    for (const [more, wanted] of [[{ status: 204 }, ''], [{ body_base64: 'aGk=' }, 'hi'], [{ headers: { 'content-type': 'application/json' }, body: 'x' }, '"x"']]) {
        const one = context.client.fetch('/x');
        await until(() => context.client.unanswered.length === 1 && socket.of('request').at(-1).id === context.client.unanswered[0].id);
        socket.say(response(context.client.unanswered[0].id, more));
        assert.equal(await (await one).text(), wanted);
    }
    await assert.rejects(() => context.client.fetch('/x', { body: 'a GET has none' }), TypeError);
    await context.client.close();
    assert.deepEqual(context.errors, []);
});

test('a request is sent again with its id on the next link; a replay answers it, and is no place', async () => {
    const context = open({ encodings: ['json'], session: true });
    const socket = await live(context);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') });
    await until(() => context.client.state.name === 'live');
    const asked = context.client.fetch('/slow', { id: 'r1' });
    await until(() => socket.of('request').length === 1);
    socket.say({ type: 'accepted', id: 'r1', ref: socket.ref('request') });
    await assert.rejects(() => context.client.fetch('/slow', { id: 'r1' }), { code: 409 });
    socket.end(1006);
    const next = await live(context);
    next.say({ ...CONNECTED, ref: next.ref('connect') }, { type: 'subscribed', channel: 'device:ann/phone', epoch: 'e', head: 5, after: 4 });
    await until(() => next.of('request').length === 1);
    assert.equal(next.of('request')[0].id, 'r1');
    const told = [];
    context.client.on('response', ({ request, seq }) => told.push([request, seq]));
    next.say(response('r1', { seq: 3, replayed: true, body: 'done' }));
    const answer = await asked;
    assert.deepEqual([await answer.text(), answer.replayed], ['done', true]);
    assert.equal(context.client.subscription('device:ann/phone').received, null);
    next.say(response('of another run', { seq: 5 }));
    await until(() => told.length === 1);
    assert.deepEqual(told, [['of another run', 5]]);
    await context.client.close();
    assert.deepEqual(context.errors, []);
});

test('refusals, time and abort; what can not outlive its link is told', async () => {
    const context = open({ encodings: ['json'] });
    const socket = await live(context);
    await until(() => context.client.state.name === 'live');
    const refused = context.client.fetch('/nowhere', { id: 'r1' });
    await until(() => socket.of('request').length === 1);
    socket.say({ type: 'error', code: 404, reason: 'no route', id: 'r1', ref: socket.ref('request') });
    await assert.rejects(refused, { code: 404, message: 'no route', id: 'r1' });

    const late = context.client.fetch('/later', { id: 'r2' });
    await until(() => socket.of('request').length === 2);
    socket.say({ type: 'error', code: 503, reason: 'away', id: 'r2', ref: socket.ref('request') });
    await until(() => socket.of('request').length === 3);
    assert.equal(socket.of('request')[2].id, 'r2');

    const abort = new AbortController();
    const aborted = context.client.fetch('/slow', { id: 'r3', signal: abort.signal });
    await until(() => socket.of('request').length === 4);
    abort.abort();
    await assert.rejects(aborted, { name: 'AbortError' });
    assert.deepEqual(socket.of('cancel'), [{ type: 'cancel', id: 'r3' }]);

    socket.say({ type: 'accepted', id: 'r2', ref: socket.of('request')[2].ref });
    socket.end(1006);
    await assert.rejects(late, { code: 0, id: 'r2' });
    await context.client.close();
});

test('close() answers the requests that begin as it is called, and those behind it', async () => {
    const context = open({ encodings: ['json'] });
    await live(context);
    const begun = context.client.fetch('/begun', { method: 'POST', body: 'its bytes are read later' });
    const closed = context.client.close();
    await assert.rejects(begun, { code: 0 });
    await closed;
    await assert.rejects(context.client.fetch('/late'), { code: 0 });
    assert.deepEqual(context.client.unanswered, []);
    context.client.open();
    const again = context.client.fetch('/again', { id: 'r1' });
    const socket = await live(context);
    await until(() => socket.of('request').length === 1);
    assert.equal(socket.of('request')[0].id, 'r1');
    await context.client.close();
    await assert.rejects(again, { code: 0, id: 'r1' });
});

test('ids outlive the page where places do', async () => {
    const kept = {};
    const keep = { get: name => kept[name], set: (name, text) => { kept[name] = text; } };
    const first = open({ encodings: ['json'], session: true, keep });
    const socket = await live(first);
    socket.say({ ...CONNECTED, ref: socket.ref('connect') });
    first.client.fetch('/orders', { method: 'POST', body: 'one', id: 'order-1' }).catch(() => {});
    await until(() => socket.of('request').length === 1 && kept.longwire?.includes('order-1'));

    const second = open({ encodings: ['json'], session: true, keep: { ...keep, set: () => {} } });
    const next = await live(second);
    next.say({ ...CONNECTED, ref: next.ref('connect') });
    await until(() => next.of('request').length === 1);
    assert.deepEqual(next.of('request')[0].body_base64, btoa('one'));
    assert.deepEqual(second.client.unanswered, [{ id: 'order-1', method: 'POST', path: '/orders' }]);
    const asked = second.client.fetch('/orders', { method: 'POST', body: 'one', id: 'order-1' });
    await until(() => second.client.unanswered.length === 1);
    await new Promise(resolve => setImmediate(resolve));
    next.say(response('order-1', { replayed: true, status: 201 }));
    assert.equal((await asked).status, 201);
    assert.equal(next.of('request').length, 1);
    await Promise.all([first.client.close(), second.client.close()]);
});

test('what was asked before a reload, and by nobody since, is an event', async () => {
    for (const session of [true, false]) {
        for (const replayed of [true, false]) {
            const frames = ['order-1', 'order-2'].map(id => ({ id, method: 'GET', path: '/orders' }));
            const keep = { get: () => JSON.stringify({ requests: frames }), set: () => {} };
            const context = open({ encodings: ['json'], session, keep });
            const told = [];
            context.client.on('response', ({ request }) => told.push(request));
            const socket = await live(context);
            if (session) socket.say({ ...CONNECTED, ref: socket.ref('connect') });
            await until(() => socket.of('request').length === 2);
            const asked = context.client.fetch('/orders', { id: 'order-2' });
            await new Promise(resolve => setImmediate(resolve));
            socket.say(response('order-1', { seq: 5, replayed }), response('order-2', { seq: 6, replayed }));
            assert.equal((await asked).status, 200);
            await until(() => told.length === 1);
            assert.deepEqual([told, context.client.unanswered], [['order-1'], []]);
            await context.client.close();
            assert.deepEqual([told, context.errors], [['order-1'], []]);
        }
    }
});

test('without a WebSocket requests go by POST, again and again with one id', async () => {
    const answers = [];
    const post = () => answers.shift() ?? new Response('{"id":"r1","channel":"device:ann/phone"}', { status: 202 });
    const context = open({ transports: ['poll'] }, { '/v1/request': post });
    answers.push(new Response('{"detail":"away"}', { status: 503 }), new Response('{"id":"r1"}', { status: 202 }), new Response(JSON.stringify(response('r1', { body: 'hi' }))));
    const answer = await context.client.fetch('/hello', { id: 'r1' });
    assert.equal(await answer.text(), 'hi');
    const posts = context.asked.filter(({ url }) => url.startsWith('/v1/request'));
    assert.deepEqual(posts.map(({ body }) => JSON.parse(body).id), ['r1', 'r1', 'r1']);
    await context.client.close();
});
