/* The vectors of dialogues, streams and cursors, with a server: LONGWIRE_URL names one that has neither keys nor messages.
 * LONGWIRE_URL=http://127.0.0.1:8080 node --test clients/js/test/vectors.test.js */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect } from '../index.js';
import { BinCodec } from '../lib/bin.js';
import { EventStreamReader } from '../lib/event_stream.js';
import { bytesOfBase64, messagesUrl, webSocketUrl, withBytes } from '../lib/http.js';
import { NodeWebSocket } from '../lib/node_websocket.js';
import { JsonCodec } from '../lib/websocket_link.js';
import { CLIENT, SERVER, isSaid } from './bin_names.js';

const url = process.env.LONGWIRE_URL;
const MS = 20000;
const vectors = name => JSON.parse(readFileSync(new URL(`../../../test/vectors/${name}.json`, import.meta.url), 'utf8'));

/* Channels of a case are its own in each run: several runs share the server. */
const renamed = (thing, from, to) => JSON.parse(JSON.stringify(thing).replaceAll(from, to));

async function ask(method, path, body) {
    const answer = await fetch(path, { method, body });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
}

async function setUp({ publish = [], recall = [] }) {
    for (const [channel, data] of publish) await ask('POST', messagesUrl(url, channel), new TextEncoder().encode(data));
    for (const [channel, seq] of recall) await ask('DELETE', `${messagesUrl(url, channel)}/${seq}`);
}

/* --- what is wanted of what came ---------------------------------------------------------------------------------- */

/* A value "$name" stands for any value; the same name for the same value, but for "$_". */
function fits(wanted, got, bound) {
    if (typeof wanted === 'string' && wanted.startsWith('$')) {
        if (wanted === '$_') return true;
        if (!(wanted in bound)) bound[wanted] = got;
        return bound[wanted] === got;
    }
    if (wanted === null || typeof wanted !== 'object') return wanted === got;
    const names = Object.keys(wanted);
    return got !== null && typeof got === 'object' && names.length === Object.keys(got).length && names.every(name => fits(wanted[name], got[name], bound));
}

async function expectAll(next, wanted, bound) {
    for (const left = [...wanted]; left.length > 0;) {
        const got = await next();
        const at = left.findIndex(frame => fits(frame, got, { ...bound }));
        assert.ok(at >= 0, `got ${JSON.stringify(got)}, wanted one of ${JSON.stringify(left)} with ${JSON.stringify(bound)}`);
        fits(left.splice(at, 1)[0], got, bound);
    }
}

/* --- dialogues ---------------------------------------------------------------------------------------------------- */

/* One WebSocket with one of the client's codecs, and what came over it. */
class Talk {
    #frames = [];
    #wake = () => {};
    closed = new Promise(resolve => { this.onClosed = resolve; });

    constructor(query, codec) {
        this.codec = codec;
        this.socket = new NodeWebSocket(`${webSocketUrl(url)}/v1/ws?${query}`, [codec.constructor.protocol]);
        this.socket.binaryType = 'arraybuffer';
        this.opened = new Promise(resolve => { this.socket.onopen = resolve; });
        this.socket.onmessage = ({ data }) => { this.#frames.push(...codec.decode(data)); this.#wake(); };
        this.socket.onclose = ({ code }) => { this.onClosed(code); this.#wake(); };
    }

    async next() {
        const timer = setTimeout(() => this.socket.close(), MS);
        for (; this.#frames.length === 0; await new Promise(resolve => { this.#wake = resolve; }))
            assert.ok(this.socket.readyState < 2, 'the link has ended');
        clearTimeout(timer);
        return this.#frames.shift();
    }

    send(frame) {
        this.socket.send(this.codec.encode(frame));
    }
}

async function talk(query, codec, tell) {
    const link = new Talk(query, codec);
    await link.opened;
    try {
        await tell(link);
    } finally {
        link.socket.close();
    }
}

/* Octets are bytes for the application, whatever they are on the wire. */
const expected = step => (step.expect_any_order ?? [step.expect]).map(withBytes);

const jsonDialogues = vectors('ws_dialogue').cases;

for (const [index, dialogue] of jsonDialogues.entries())
    test(`frames of JSON: ${dialogue.name}`, { timeout: MS }, async () => {
        const { query, steps, ...before } = renamed(dialogue, 'topic:d', `topic:j${index}.`);
        await setUp(before);
        await talk(query, new JsonCodec(), async link => {
            const bound = {};
            for (const step of steps) {
                if ('send' in step) link.send(step.send);
                else if ('send_text' in step) link.socket.send(step.send_text);
                else if ('send_binary' in step) link.socket.send(Buffer.from(step.send_binary, 'hex'));
                else if ('close' in step) link.socket.close(step.close);
                else if ('expect_close' in step) assert.equal(await link.closed, step.expect_close);
                else await expectAll(() => link.next(), expected(step), bound);
            }
        });
    });

/* A frame of JSON as the client would say it in the binary encoding; null: it is malformed on purpose, and has no bytes. Refs
 * are numbers there. */
function sayable({ data_base64: base64, ...frame }, refs) {
    const isKnown = ['connect', 'subscribe', 'unsubscribe', 'publish', 'cursor', 'ping', 'request', 'cancel'].includes(frame.type);
    if (frame.type === 'request' && (frame.body_base64 !== undefined || Object.values(frame.headers ?? {}).some(value => typeof value !== 'string'))) return null;
    const isPayload = frame.type !== 'publish' || base64 !== undefined || 'data' in frame;
    if (!isKnown || !isPayload || frame.after < 0 || JSON.stringify(frame.ref ?? '').length > 256) return null;
    const bytes = base64 === undefined ? {} : { bytes: bytesOfBase64(base64) };
    return { ...frame, ...bytes, ...('ref' in frame && { ref: refs.push(frame.ref) - 1 }) };
}

/* The other way: what the binary encoding adds is left out. */
function asJson({ ref, frame_max: _max, version: _version, ...frame }, refs) {
    return { ...frame, ...(ref !== undefined && { ref: refs[ref] }) };
}

for (const [index, dialogue] of jsonDialogues.entries()) {
    if (dialogue.steps.some(step => 'expect_close' in step)) continue;
    test(`the same in binary frames: ${dialogue.name}`, { timeout: MS }, async () => {
        const { query, steps, ...before } = renamed(dialogue, 'topic:d', `topic:k${index}.`);
        await setUp(before);
        await talk(query, new BinCodec(), async link => {
            const bound = {}, refs = [];
            let isTold = true;
            for (const step of steps) {
                const frame = 'send' in step ? sayable(step.send, refs) : null;
                if ('send' in step || 'send_text' in step) {
                    isTold = frame !== null;
                    if (isTold) link.send(frame);
                } else if (isTold) await expectAll(async () => asJson(await link.next(), refs), expected(step), bound);
            }
        });
    });
}

/* Those of bin_dialogue.json that end the link, or speak of lengths and versions, are of the native port, which this client
 * does not use. */
const isOfNativePort = ({ steps }) => steps.some(step => 'expect_end' in step || 'send_hex' in step || (step.send && !isSaid(step.send)));

let binCount = 0;
for (const [index, dialogue] of vectors('bin_dialogue').cases.entries()) {
    if (isOfNativePort(dialogue)) continue;
    binCount++;
    test(`binary frames: ${dialogue.name}`, { timeout: MS }, async () => {
        const { steps, ...before } = renamed(dialogue, 'topic:b', `topic:b${index}.`);
        await setUp(before);
        await talk('', new BinCodec(), async link => {
            const bound = {};
            assert.equal((await link.next()).type, 'connected');   // a WebSocket is told so unasked
            for (const step of steps) {
                if (step.send) link.send((CLIENT[step.send.type] ?? (same => same))(step.send));
                else await expectAll(() => link.next(), (step.expect_any_order ?? [step.expect]).map(frame => (SERVER[frame.type] ?? (same => same))(frame)), bound);
            }
        });
    });
}

test('most dialogues are run', () => assert.ok(binCount >= 12, `only ${binCount} of bin_dialogue.json`));

/* --- streams ------------------------------------------------------------------------------------------------------- */

const streams = vectors('streams').cases.filter(({ accept }) => accept === 'text/event-stream' || accept === 'application/json');
const TRANSPORT = { 'text/event-stream': 'sse', 'application/json': 'poll' };

/* A body with letters in place of the names: numbers where a number must stand. */
const filled = body => body.replace(/:\$(id|time)\d*/g, ':7').replace(/retry: \$retry/g, 'retry: 1500').replace(/\$(\w+?)(?=\W|$)/g, '$1');

/* The entries in it, without what differs from server to server. */
const plain = ({ epoch: _epoch, id: _id, time: _time, cursor: _cursor, ...entry }) => entry;

function entriesOf({ accept, body }) {
    const text = filled(body);
    if (accept === 'application/json') return JSON.parse(text).messages;
    return text.split('\n').filter(line => line.startsWith('data: ')).map(line => JSON.parse(line.slice(6))).filter(({ type }) => type !== 'cursor');
}

for (const stream of streams.filter(({ accept }) => accept === 'text/event-stream'))
    test(`event streams, wherever they are cut: ${stream.name}`, () => {
        const bytes = new TextEncoder().encode(filled(stream.body));
        const whole = new EventStreamReader().feed(bytes);
        assert.deepEqual(whole.map(({ data }) => JSON.parse(data)).filter(({ type }) => type !== 'cursor'), entriesOf(stream));
        assert.ok(whole.every(({ id, name, data }) => /^cursor\d?$/.test(id) && (name === 'message' || name === JSON.parse(data).type)));
        for (let cut = 1; cut < bytes.length; cut++) {
            const reader = new EventStreamReader();
            assert.deepEqual([...reader.feed(bytes.subarray(0, cut)), ...reader.feed(bytes.subarray(cut))], whole);
            assert.equal(reader.retryMs, 1500);
        }
    });

for (const stream of streams)
    test(`the client hears what a ${TRANSPORT[stream.accept]} brings: ${stream.name}`, { timeout: MS }, async () => {
        const { query, ...before } = renamed({ query: stream.query, publish: stream.publish, recall: stream.recall }, 'topic:s', 'topic:js');
        await setUp(before);
        const asked = new URLSearchParams(query);
        const wanted = entriesOf(stream).map(plain).map(entry => renamed(entry, 'topic:s', 'topic:js'));
        const heard = [];
        const client = connect(url, { transports: [TRANSPORT[stream.accept]] });
        const come = new Promise(resolve => {
            const take = entry => { heard.push(plain(entry)); if (heard.length === wanted.length) resolve(); };
            client.subscribe(asked.get('channel'), take, { ...(asked.has('after') && { after: Number(asked.get('after')) }), ...(asked.has('mode') && { mode: asked.get('mode') }),
                onGap: take, onRecall: take, onNotify: take })
                .ready.then(() => wanted.length === 0 && resolve());
        });
        await come;
        await client.close();
        assert.deepEqual(heard, wanted);
    });

/* --- cursors ------------------------------------------------------------------------------------------------------- */

/* A page that kept this cursor for these channels, and the bodies of its polls. */
async function comeWith(cursor, channels) {
    const bodies = [], errors = [];
    const kept = { cursor, covered: channels, places: {} };
    const client = connect(url, {
        transports: ['poll'], keep: { get: () => JSON.stringify(kept), set: () => {} },
        fetch: (target, init) => { if (init?.body) bodies.push(JSON.parse(init.body)); return fetch(target, init); },
    });
    client.on('error', ({ error }) => errors.push(error));
    const live = new Promise(resolve => client.on('state', ({ name }) => name === 'live' && resolve()));
    for (const channel of channels) client.subscribe(channel, () => {});
    await live;
    await client.close();
    return { bodies, errors };
}

for (const { name, token, places } of vectors('cursors').cases)
    test(`a cursor goes back as it came: ${name}`, { timeout: MS }, async () => {
        const { bodies, errors } = await comeWith(token, places.map(({ channel }) => channel));
        assert.equal(bodies[0].cursor, token);
        assert.deepEqual(errors, []);
    });

for (const { name, token } of vectors('cursors').refused)
    test(`a cursor that the server refuses is dropped: ${name}`, { timeout: MS }, async () => {
        const { bodies } = await comeWith(token, ['topic:hello']);
        assert.deepEqual([bodies[0].cursor, bodies.at(-1).cursor === token], [token, false]);
    });
