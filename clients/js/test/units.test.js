/* Units of the client that need no server. node --test clients/js/test */
import assert from 'node:assert/strict';
import { Pace } from '../lib/pace.js';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LongwireError, connect } from '../index.js';
import { backOffMs, DEFAULT_POLICY, policyOf } from '../lib/back_off.js';
import { BinCodec } from '../lib/bin.js';
import { EventStreamReader } from '../lib/event_stream.js';
import { fetchWithin, httpUrl, soundFetch } from '../lib/http.js';
import { Comparing, LinkPlaces } from '../lib/link_places.js';
import { nodeFetch } from '../lib/node_fetch.js';
import { PlaceStore } from '../lib/place_store.js';
import { Requests } from '../lib/requests.js';
import { Servers } from '../lib/servers.js';
import { Subscription } from '../lib/subscription.js';
import { CLIENT, SERVER, hex, isSaid } from './bin_names.js';

const tick = () => new Promise(resolve => setImmediate(resolve));
const bytes = text => new TextEncoder().encode(text);

async function withServer(onRequest, work) {
    const server = http.createServer(onRequest);
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    try {
        await work(`http://127.0.0.1:${server.address().port}`);
    } finally {
        server.closeAllConnections();
        server.close();
    }
}

async function collectGarbage() {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc');
    for (let turn = 0; turn < 5; turn++) {
        await tick();
        collect();
    }
}

for (const fetch of [soundFetch, nodeFetch]) {
    test(`${fetch.name}: an abort ends what is held, also after garbage was collected`, { timeout: 120000 }, () => withServer((request, answer) => {
        if (request.url === '/stream') answer.write('first');
        else request.resume();
    }, async url => {
        const held = new AbortController(), streaming = new AbortController();
        const waits = fetch(`${url}/held`, { method: 'POST', body: '{}', signal: held.signal });
        const reader = (await fetch(`${url}/stream`, { signal: streaming.signal })).body.getReader();
        assert.equal(new TextDecoder().decode((await reader.read()).value), 'first');
        const reads = reader.read();
        await collectGarbage();
        held.abort();
        streaming.abort();
        await assert.rejects(waits, { name: 'AbortError' });
        await assert.rejects(reads);
    }));
}

test('nodeFetch: method, headers and body go, status, headers and body come', () => withServer(async (request, answer) => {
    const body = [];
    for await (const piece of request) body.push(piece);
    answer.writeHead(request.url === '/empty' ? 204 : 422, { 'X-Method': request.method, 'X-Length': request.headers['content-length'] ?? 'none' });
    answer.end(request.url === '/empty' ? undefined : JSON.stringify({ got: Buffer.concat(body).toString(), type: request.headers['content-type'] }));
}, async url => {
    const answer = await nodeFetch(`${url}/x`, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: bytes('äh') });
    assert.deepEqual([answer.status, answer.ok, answer.headers.get('X-Method'), answer.headers.get('x-length')], [422, false, 'POST', '3']);
    assert.deepEqual(await answer.json(), { got: 'äh', type: 'text/plain' });
    const empty = await nodeFetch(`${url}/empty`);
    assert.deepEqual([empty.status, empty.body, empty.headers.get('x-length')], [204, null, 'none']);
}));

test('nodeFetch: a network that fails is a TypeError, an abort before is its reason, a cut body is told to whoever reads', () => withServer(
    (request, answer) => {
        if (request.url === '/odd') answer.writeHead(777).end();
        else if (request.url !== '/held') answer.writeHead(200, { 'Content-Length': 10 }).write('cut', () => answer.destroy());
    }, async url => {
        await assert.rejects(nodeFetch('http://127.0.0.1:1/'), TypeError);
        await assert.rejects(nodeFetch(`${url}/odd`), TypeError);
        await assert.rejects(nodeFetch(url, { signal: AbortSignal.abort() }), { name: 'AbortError' });
        await assert.rejects(fetchWithin(nodeFetch, 1, `${url}/held`), LongwireError);
        await assert.rejects((await nodeFetch(url)).text());
    }));

test('back-off: the ceiling doubles up to the cap, and chance is taken off it', () => {
    const steady = { ...DEFAULT_POLICY, jitter: 0 };
    assert.deepEqual([0, 1, 2, 6, 60].map(failures => backOffMs(steady, failures, 0, 0.5)), [250, 500, 1000, 15000, 15000]);
    assert.equal(backOffMs(DEFAULT_POLICY, 2, 0, 0.75), 250);
    assert.equal(backOffMs({ ...DEFAULT_POLICY, jitter: 0.5 }, 2, 0, 1), 500);
});

test('back-off: never earlier than the server asked for, and not all at that moment', () => {
    assert.equal(backOffMs(DEFAULT_POLICY, 0, 8000, 0), 8000);
    assert.equal(backOffMs(DEFAULT_POLICY, 0, 8000, 1), 10000);
});

test('back-off: nonsense of a server is left out', () => {
    assert.deepEqual(policyOf({ base_ms: -1, factor: 0, cap_ms: 'x', jitter: 7, other: 1 }, DEFAULT_POLICY), { base_ms: 250, factor: 1, cap_ms: 15000, jitter: 1 });
    assert.deepEqual(policyOf(undefined, DEFAULT_POLICY), DEFAULT_POLICY);
});

test('servers: one after the other, and a pause when all were tried', () => {
    const servers = new Servers('http://a:1/, http://b:2,ws://c:3');
    const seen = [];
    for (let tries = 0; tries < 7; tries++) seen.push([servers.url, servers.next()]);
    assert.deepEqual(seen.map(([url]) => url), ['a:1', 'b:2', 'c:3', 'a:1', 'b:2', 'c:3', 'a:1'].map(host => `http://${host}`));
    assert.deepEqual(seen.map(([, goesOn]) => goesOn), [true, true, false, true, true, false, true]);
    servers.worked();
    assert.deepEqual([servers.next(), servers.next(), servers.next()], [true, true, false]);
});

test('servers: what is no address is refused at once', () => {
    for (const odd of ['localhost:8080', 'ftp://x', 'http://a,tcp://b:7400', '', '127.0.0.1:8080']) assert.throws(() => new Servers(odd), TypeError);
});

test('servers: where a server sends the client is used once', () => {
    const servers = new Servers(['http://a']);
    for (const nonsense of ['', 'tcp://b:7400', 'javascript:alert(1)', ',,']) servers.sendTo(nonsense);
    assert.equal(servers.url, 'http://a');
    servers.sendTo('tcp://b:7400, http://b:8080');
    assert.equal(servers.url, 'http://b:8080');
    assert.equal(servers.next(), true);
    assert.equal(servers.url, 'http://a');
});

test('servers: what `allocate` names replaces the list, unless nothing of it can be used', () => {
    const servers = new Servers('http://a');
    servers.take([{ node: 'x', http: 'http://x:1', https: 'https://x:2' }, { node: 'y', tcp: 'tcp://y' }, { node: 'z', https: 'https://z' }]);
    assert.deepEqual([servers.url, servers.next(), servers.url, servers.next()], ['http://x:1', true, 'https://z', false]);
    servers.take([{ node: 'y', tcp: 'tcp://y' }]);
    assert.equal(servers.url, 'http://x:1');
    assert.deepEqual(servers.named, ['http://a']);
});

test('servers: a client that came by https stays with it', () => {
    const servers = new Servers('https://a');
    servers.sendTo('http://b');
    servers.take([{ node: 'c', http: 'http://c' }]);
    assert.equal(servers.url, 'https://a');
    servers.take([{ node: 'c', http: 'http://c', https: 'https://c' }]);
    assert.equal(servers.url, 'https://c');
});

test('event streams: any cut of the bytes gives the same events', () => {
    const stream = bytes('\ufeffretry: 1220\nid: a1\ndata: {"x":"\u00e4\ud83d\ude9a"}\n\n:\nid: b2\r\nevent: gap\r\ndata: one\r\ndata: two\r\n\r\ndata\rid\r\r: nothing\n\nevent: lost\n\n');
    const wanted = [{ name: 'message', data: '{"x":"\u00e4\ud83d\ude9a"}', id: 'a1' }, { name: 'gap', data: 'one\ntwo', id: 'b2' }, { name: 'message', data: '', id: '' }];
    for (let cut = 0; cut <= stream.length; cut++) {
        const reader = new EventStreamReader();
        assert.deepEqual([...reader.feed(stream.subarray(0, cut)), ...reader.feed(stream.subarray(cut))], wanted, `cut at ${cut}`);
        assert.equal(reader.retryMs, 1220);
    }
    const reader = new EventStreamReader();
    assert.deepEqual([...stream].flatMap(byte => reader.feed(Uint8Array.of(byte))), wanted);
});

test('the vectors of event streams are read as they are meant', () => {
    const { cases } = JSON.parse(readFileSync(new URL('../../../test/vectors/messages.json', import.meta.url), 'utf8'));
    let count = 0;
    for (const { sse, ndjson } of cases) {
        if (!sse || !ndjson) continue;
        const [event] = new EventStreamReader().feed(bytes(sse));
        const { cursor, ...line } = JSON.parse(ndjson);
        assert.deepEqual(JSON.parse(event.data), line);
        if (cursor) assert.equal(event.id, cursor);
        count++;
    }
    assert.ok(count > 5, `only ${count} cases`);
});

test('addresses', () => {
    assert.equal(httpUrl('wss://a.example/push/'), 'https://a.example/push');
    assert.equal(httpUrl('http://127.0.0.1:8080'), 'http://127.0.0.1:8080');
    assert.throws(() => httpUrl('push'));
});

test('an unknown transport and no transport are refused at once', () => {
    assert.throws(() => connect('http://127.0.0.1:1', { transports: ['pigeon'] }), /websocket, sse, poll/);
    assert.throws(() => connect('http://127.0.0.1:1', { transports: [] }), /at least one/);
    assert.throws(() => connect('http://127.0.0.1:1', { keep: 'session' }), /sessionStorage/);
});

test('errors that a repetition does not help', () => {
    assert.deepEqual([0, 400, 404, 408, 422, 429, 503].map(code => new LongwireError(code, '').isFinal), [false, true, true, false, true, false, false]);
});

/* A subscription whose client is this object: moves and reports are noted. */
function open(handler, options = {}, kept = null) {
    const notes = { moved: [], reports: [], control: [], waiting: 0 };
    const subscription = new Subscription('topic:a', handler, options, {
        moved: ({ place }) => notes.moved.push(place.seq), queued: count => { notes.waiting += count; },
        onControl: entry => { notes.control.push(entry.type); }, report: error => notes.reports.push(error.message),
        unsubscribe: () => subscription.close(), pull: () => {},
    });
    return subscription.prepare(kept).then(() => ({ subscription, notes }));
}

const message = (seq, epoch = 'e') => ({ type: 'message', channel: 'topic:a', epoch, seq, data: seq });
const gap = (from, to, why = 'trimmed', epoch = 'e') => ({ type: 'gap', channel: 'topic:a', epoch, from, to, why });

test('what comes again is dropped, and what comes too early is not taken', async () => {
    const seen = [];
    const { subscription } = await open(({ seq }) => { seen.push(seq); });
    for (const seq of [5, 6, 5, 6, 7]) assert.ok(subscription.take(message(seq)));
    assert.equal(subscription.take(message(9)), false);
    assert.deepEqual(seen, [5, 6, 7]);
});

test('one handler call at a time; the place is behind the last that is done', async () => {
    const seen = [];
    let free;
    const { subscription, notes } = await open(({ seq }) => { seen.push(seq); return new Promise(resolve => { free = resolve; }); });
    subscription.take(message(1));
    subscription.take(message(2));
    await tick();
    assert.deepEqual([seen, notes.moved, notes.waiting], [[1], [], 2]);
    free();
    await tick();
    assert.deepEqual([seen, notes.moved, notes.waiting], [[1, 2], [1], 1]);
    free();
    await subscription.drained();
    assert.deepEqual(notes.moved, [1, 2]);
});

test('a handler that throws gets the same message again, and no later one overtakes it', async () => {
    const seen = [];
    const { subscription, notes } = await open(({ seq }) => { seen.push(seq); if (seen.length === 1) throw new Error('once'); });
    subscription.take(message(1));
    subscription.take(message(2));
    await subscription.drained();
    assert.deepEqual([seen, notes.moved, notes.reports], [[1, 1, 2], [1, 2], ['once']]);
});

test('gaps: the seqs they cover count as seen; ahead goes back', async () => {
    const seen = [], gaps = [];
    const { subscription } = await open(({ seq, epoch }) => { seen.push(`${epoch}${seq}`); }, { onGap: ({ why }) => { gaps.push(why); } });
    for (const entry of [message(1), gap(2, 4), gap(2, 4), message(5), gap(1, 0, 'epoch', 'f'), message(1, 'f'), gap(1, 9, 'ahead', 'f'), message(1, 'f')])
        assert.ok(subscription.take(entry));
    await subscription.drained();
    assert.deepEqual([seen, gaps], [['e1', 'e5', 'f1', 'f1'], ['trimmed', 'epoch', 'ahead']]);
});

test('state: a snapshot behind the gap heals it, and what is part of it is not handed over', async () => {
    const seen = [], gaps = [], asked = [];
    const places = [{ seq: 3, epoch: 'e' }, { seq: 9, epoch: 'e' }, 10];
    const { subscription, notes } = await open(({ seq }) => { seen.push(seq); }, {
        onGap: entry => { gaps.push(entry.to); }, state: ({ why }) => { asked.push(why); return places.shift(); },
    });
    assert.deepEqual(subscription.start(), { after: 3, epoch: 'e' });
    for (const entry of [message(4), gap(5, 7), message(8), message(9), message(10), gap(11, 12)]) assert.ok(subscription.take(entry));
    await subscription.drained();
    assert.deepEqual([asked, seen, gaps, notes.moved.at(-1)], [['first', 'gap', 'gap'], [4, 10], [12], 12]);
});

test('state: one that fails is asked again', async () => {
    let calls = 0;
    const { subscription, notes } = await open(() => {}, { state: () => { if (++calls === 1) throw new Error('not yet'); return { seq: 2, epoch: 'e' }; } });
    assert.deepEqual([subscription.place, notes.reports], [{ seq: 2, epoch: 'e' }, ['not yet']]);
});

test('ack by hand: the place moves when it is called, over what needs none, and not back', async () => {
    const { subscription, notes } = await open(() => {}, { ack: 'manual' }, { epoch: 'e', seq: 0 });
    const recall = { ...message(3), type: 'recall', target: 1 };
    for (const entry of [message(1), message(2), recall, gap(4, 5), message(6)]) subscription.take(entry);
    await subscription.drained();
    assert.deepEqual(notes.moved, []);
    subscription.ack(2);
    assert.equal(subscription.place.seq, 5);
    subscription.ack(message(1));
    subscription.ack(message(6, 'of an earlier life'));
    assert.equal(subscription.place.seq, 5);
    subscription.ack(99);
    assert.equal(subscription.place.seq, 6);
});

test('control messages move the place and are told', async () => {
    const { subscription, notes } = await open(() => {}, {}, { epoch: 'e', seq: 1 });
    subscription.take({ ...message(2), type: 'membership', group: 'g', joined: true });
    await subscription.drained();
    assert.deepEqual([notes.control, notes.moved], [['membership'], [2]]);
});

test('for await: a message counts as handled when the next is asked for', async () => {
    const { subscription, notes } = await open(null);
    for (const seq of [1, 2, 3]) subscription.take(message(seq));
    const seen = [];
    for await (const { seq } of subscription) {
        seen.push([seq, notes.moved.at(-1) ?? 0]);
        if (seq === 3) break;
    }
    assert.deepEqual(seen, [[1, 0], [2, 1], [3, 2]]);
    assert.ok(subscription.isClosed);
});

test('for await: a loop that waits, for its first message or a later one, ends when the subscription is ended elsewhere', async () => {
    for (const count of [0, 1]) {
        const { subscription } = await open(null);
        for (let seq = 1; seq <= count; seq++) subscription.take(message(seq));
        const seen = [];
        const loop = (async () => {
            for await (const entry of subscription) {
                seen.push(entry);
                if (entry === undefined) break;
            }
        })();
        while (seen.length < count) await tick();
        await tick();
        subscription.close();
        await loop;
        assert.deepEqual(seen.map(entry => entry?.seq), count ? [1] : []);
        assert.deepEqual(await subscription[Symbol.asyncIterator]().next(), { done: true, value: undefined });
    }
});

test('stores: writes of one turn go together; a broken one counts as empty', async () => {
    const texts = [], errors = [];
    const store = new PlaceStore({ get: () => '{broken', set: (_, text) => { texts.push(text); } }, 'n', error => errors.push(error));
    await store.load();
    for (let seq = 1; seq <= 100; seq++) store.setPlace('topic:a', { epoch: 'e', seq });
    await new Promise(resolve => setTimeout(resolve, 5));
    assert.equal(errors.length, 1);
    assert.deepEqual(texts.map(text => JSON.parse(text).places['topic:a'].seq), [100]);
});

test('stores: the oldest place goes when there are too many', async () => {
    const store = new PlaceStore(null, 'n', () => {});
    for (let i = 0; i <= 1000; i++) store.setPlace(`topic:${i}`, { epoch: 'e', seq: 1 });
    assert.equal(store.placeOf('topic:0'), null);
    assert.deepEqual(store.placeOf('topic:1000'), { epoch: 'e', seq: 1 });
});

/* --- longwire.bin.v1 -------------------------------------------------------------------------------------------- */

const hexOf = frame => Buffer.from(frame).toString('hex');
const ALIAS_0 = '10 5900 1207 746f7069633a61 1b 0123456789abcdef 2106 2908 31e807 3a0a 746578742f706c61696e 4203 616e6e';

test('binary: what a client sends', () => {
    const codec = new BinCodec();
    const frames = [
        [{ type: 'connect', token: 'key', ref: 1 }, '01 4c57 0101 0d01 8601 03 6b6579'],
        [{ type: 'connect', session: true, mode: 'notify', heartbeat: 0 }, '01 4c57 0101 9c01 d50100 ed0101'],
        [{ type: 'connect', resume: { 'topic:a': { seq: 300, epoch: '0123456789abcdef' } } }, '01 4c57 0101 c601 13 07 746f7069633a61 ac02 08 0123456789abcdef'],
        [{ type: 'subscribe', channel: 'topic:a', after: 0, ref: 2 }, '02 0d02 16 07 746f7069633a61 950200'],
        [{ type: 'publish', channel: 'a:b', data: 'hi', key: 'k' }, '84 08 16 03 613a62 76 01 6b 6869'],
        [{ type: 'publish', channel: 'a:b', data: { n: 1 } }, '84 17 16 03 613a62 3e 10 6170706c69636174696f6e2f6a736f6e 7b226e223a317d'],
        [{ type: 'ack', channel: 'a:b', seq: 2 ** 40 }, '06 16 03 613a62 25 808080808020'],
        [{ type: 'ping' }, '08'], [{ type: 'ping', next_ms: 120000 }, '08 dd01 c0a907'],
    ];
    for (const [frame, bytesOfIt] of frames) assert.equal(hexOf(codec.encode(frame)), bytesOfIt.replaceAll(' ', ''), JSON.stringify(frame));
});

test('binary: messages by alias, on both sides of the bases', () => {
    const codec = new BinCodec();
    assert.deepEqual(codec.decode(hex(ALIAS_0)), []);
    const same = { type: 'message', channel: 'topic:a', epoch: '0123456789abcdef', from: 'ann', media: 'text/plain' };
    assert.deepEqual(codec.decode(hex('11 00 01 01 8a02 68656c6c6f')), [{ ...same, seq: 7, id: 9, time: 1266, data: 'hello' }]);
    assert.deepEqual(codec.decode(hex('51 00 01 01 8a02 68656c6c6f')), [{ ...same, seq: 5, id: 7, time: 734, data: 'hello' }]);
    assert.deepEqual(codec.decode(hex('91 00 00 00 00 05 4a 03 657674 ff')), [{ ...same, seq: 6, id: 8, time: 1000, event: 'evt', data: Uint8Array.of(255) }]);
    assert.deepEqual(codec.decode(hex('91 00 00 00 00 12 3a 10 6170706c69636174696f6e2f6a736f6e 5b315d'))[0].data, [1]);
});

test('binary: full messages, recalls, what remains, control messages, gaps', () => {
    const codec = new BinCodec();
    const head = '1207 746f7069633a61 1b 0123456789abcdef 2107';
    const same = { channel: 'topic:a', epoch: '0123456789abcdef', seq: 7 };
    assert.deepEqual(codec.decode(hex(`12 ${head} b90206`)), [{ type: 'recall', ...same, from: null, target: 6 }]);
    assert.deepEqual(codec.decode(hex(`12 ${head} c002`)), [{ type: 'message', ...same, from: null, recalled: true }]);
    const media = Buffer.from('application/vnd.longwire.membership+json');
    const fields = Buffer.concat([hex(head), Buffer.from([0x3a, media.length]), media]);
    const frame = Buffer.concat([hex('92'), Buffer.from([fields.length]), fields, Buffer.from('{"group":"g","joined":true}')]);
    assert.deepEqual(codec.decode(frame), [{ type: 'membership', ...same, from: null, group: 'g', joined: true }]);
    assert.deepEqual(codec.decode(hex('13 1207 746f7069633a61 1b 0123456789abcdef a10201 a90203 b10201')),
        [{ type: 'gap', channel: 'topic:a', epoch: '0123456789abcdef', from: 1, to: 3, why: 'trimmed' }]);
});

test('binary: what the server says of the link', () => {
    const codec = new BinCodec();
    assert.deepEqual(codec.decode(hex('01 ab01 00000000000000d1 d10119 e10205 e902c801 f102d804 f902f403 e90301')), [{
        type: 'connected', connection: '00000000000000d1', heartbeat: 25, version: 1, resumed: false,
        reconnect: { base_ms: 5, factor: 2, cap_ms: 600, jitter: 0.5 },
    }]);
    assert.deepEqual(codec.decode(hex('21 8103d00f')), [{ type: 'reconnect', after: 2000 }]);
    assert.deepEqual(codec.decode(hex('20 619403 6a 02 6e6f 0905')), [{ type: 'error', code: 404, reason: 'no', ref: 5 }]);
    assert.deepEqual(codec.decode(hex('09 0905')), [{ type: 'pong', ref: 5 }]);
});

test('binary: later versions are passed over, broken frames end the link', () => {
    const codec = new BinCodec();
    for (const frame of ['', '3f', '09 e107 05', '09 e507 05']) assert.deepEqual(codec.decode(hex(frame)).filter(({ type }) => type !== 'pong'), [], frame);
    assert.deepEqual(codec.decode(hex('09 e107 05')), [{ type: 'pong' }], 'a field that is not vital');
    for (const frame of ['11 05 00 00 00', '09 0980', '09 098000', '09 0905 0905', '09 0a 01 61', '20 6a 02 6e', '20 6a 01 ff', '89 00', '49'])
        assert.throws(() => codec.decode(hex(frame)), undefined, frame);
    const whole = hex(ALIAS_0);
    for (let cut = 1; cut < whole.length; cut++) {
        try { codec.decode(whole.subarray(0, cut)); } catch (error) { assert.match(error.message, /frame|field|varint/); }
    }
});

const EPOCH = '06293eca3fc96cc6';

test('the digest of places is that of the protocol', () => {
    const places = new LinkPlaces();
    assert.equal(places.digest(), '0000000000000000');
    places.take({ type: 'subscribed', channel: 'topic:a', epoch: EPOCH, head: 42 });
    assert.equal(places.digest(), 'a7a0410e5606df73');
    places.take({ type: 'subscribed', channel: 'group:l\u00f6bby', epoch: '0000000000000000', head: 7, after: 0 });
    assert.equal(places.digest(), '62127dc37a0d9387');
    places.take({ type: 'unsubscribed', channel: 'group:l\u00f6bby' });
    places.take({ type: 'message', channel: 'topic:a', epoch: EPOCH, seq: 43 });
    assert.equal(places.digest(), '0c1ec8417c43d0b2');
});

test('a link has the place behind what came over it', () => {
    const places = new LinkPlaces();
    const isAt = (seq, why) => assert.deepEqual(places.compare({ 'topic:a': { epoch: EPOCH, seq } }), { moved: [], strays: [], missing: [] }, why);
    places.asks('topic:a', 5);
    places.take({ type: 'subscribed', channel: 'topic:a', epoch: EPOCH, head: 9, ref: 1 });
    isAt(5, 'asked for');
    places.take({ type: 'subscribed', channel: 'topic:a', epoch: EPOCH, head: 9, after: 3, ref: 1 });
    isAt(3, 'told');
    places.take({ type: 'gap', channel: 'topic:a', epoch: EPOCH, from: 4, to: 6, why: 'trimmed' });
    isAt(6, 'a gap');
    places.take({ type: 'gap', channel: 'topic:a', epoch: EPOCH, from: 3, to: 12, why: 'ahead' });
    isAt(2, 'ahead');
    for (const type of ['published', 'ack', 'notify']) places.take({ type, channel: 'topic:a', epoch: EPOCH, seq: 20 });
    places.take({ type: 'read', channel: 'topic:a', seq: 20, ref: 2 });   // the answer; the control message below stands in a log
    places.take({ type: 'message', channel: 'conn:x', epoch: EPOCH, seq: 1 });
    isAt(2, 'no entries of the log');
    places.take({ type: 'read', channel: 'topic:a', epoch: EPOCH, seq: 3, target_channel: 'topic:b', target: 7 });
    isAt(3, 'a control message');
});

test('what a pong says is compared channel by channel', () => {
    const places = new LinkPlaces();
    for (const channel of ['topic:a', 'topic:b', 'topic:c', 'topic:d']) places.take({ type: 'subscribed', channel, epoch: EPOCH, head: 9 });
    assert.equal(places.differenceOf({ type: 'pong' }), null);
    assert.equal(places.differenceOf({ type: 'pong', digest: places.digest() }), null);
    assert.equal(places.differenceOf({ type: 'pong', digest: '00000000000000ff' }), undefined);
    assert.deepEqual(places.differenceOf({ type: 'pong', digest: '0000000000000000' }), {});
    const server = { 'topic:a': { epoch: EPOCH, seq: 9 }, 'topic:b': { epoch: EPOCH, seq: 10 }, 'topic:c': { epoch: '00000000000000ff', seq: 9 }, 'topic:e': { epoch: EPOCH, seq: 9 } };
    assert.deepEqual(places.compare(server), { moved: ['topic:b', 'topic:c'], strays: ['topic:e'], missing: ['topic:d'] });
});

test('a difference that stays is compared less and less often', () => {
    const comparing = new Comparing();
    const beats = () => { for (let count = 1; ; count++) if (comparing.isDue()) return count; };
    const waits = [1, 2, 3, 4, 5, 6, 7].map(() => { comparing.healed(); return beats(); });
    assert.deepEqual(waits, [2, 4, 8, 16, 32, 64, 64]);
    comparing.agreed();
    assert.equal(beats(), 1);
});

/* --- the vectors of longwire.bin.v1 ------------------------------------------------------------------------------ */

const vectors = JSON.parse(readFileSync(new URL('../../../test/vectors/bin_frames.json', import.meta.url), 'utf8'));

/* The frames of a stream, without their lengths, as WebSocket messages have them. */
function messagesOf(stream) {
    const messages = [];
    for (let at = 0; at < stream.length;) {
        let length = 0, scale = 1, byte;
        do { byte = stream[at++]; length += (byte & 127) * scale; scale *= 128; } while (byte > 127);
        messages.push(stream.subarray(at, at += length));
    }
    return messages;
}

test('vectors: what a client sends has these bytes', () => {
    let count = 0;
    for (const { name, side, hex: stream, frames } of vectors.cases) {
        if (side !== 'client' || frames.some(({ type }) => !type) || /skipped|unknown|has not come/.test(name) || !frames.every(isSaid)) continue;
        const codec = new BinCodec();
        const messages = messagesOf(hex(stream));
        for (const [at, frame] of frames.entries()) {
            assert.equal(hexOf(codec.encode((CLIENT[frame.type] ?? (same => same))(frame))), hexOf(messages[at]), name);
            count++;
        }
    }
    assert.ok(count >= 18, `only ${count} frames`);
});

test('vectors: what a server says means this', () => {
    const alias = vectors.cases.find(({ name }) => name === 'an alias').hex;
    let count = 0;
    for (const { name, side, hex: stream, frames } of vectors.cases) {
        if (side !== 'server' || frames.some(({ type }) => type === 'message' || type === 'alias')) continue;
        const codec = new BinCodec();
        messagesOf(hex(alias)).map(frame => codec.decode(frame));
        assert.deepEqual(messagesOf(hex(stream)).flatMap(frame => codec.decode(frame)), frames.map(frame => (SERVER[frame.type] ?? (same => same))(frame)), name);
        count++;
    }
    assert.ok(count >= 16, `only ${count} cases`);
});

test('vectors: messages by alias', () => {
    for (const { name, hex: stream, messages } of vectors.aliases) {
        const codec = new BinCodec();
        assert.deepEqual(messagesOf(hex(stream)).flatMap(frame => codec.decode(frame)), messages.map(SERVER.full), name);
    }
});

test('vectors: fields that are broken end the link', () => {
    let count = 0;
    for (const { name, hex: stream, frames } of vectors.cases) {
        if (!frames.some(({ malformed }) => malformed) || /connect|place|headers/.test(name)) continue;   // only a client sends these
        assert.throws(() => messagesOf(hex(stream)).map(frame => new BinCodec().decode(frame)), undefined, name);
        count++;
    }
    assert.ok(count >= 6, `only ${count} cases`);
});

test('a pace: at once until it is too often, then with a gap that grows and shrinks', () => {
    const pace = new Pace();
    pace.sent(0);
    pace.answered();
    assert.ok(pace.allows(0));
    for (let count = 0; count < 7; count++) pace.refused(100, 1000);   // of the same moment: one refusal
    assert.deepEqual([pace.allows(1099), pace.restMs(1060), pace.allows(1100)], [false, 40, true]);
    pace.sent(1100);
    assert.equal(pace.restMs(1100), 100);
    pace.refused(20, 1200);
    assert.equal(pace.restMs(1200), 20);
    pace.sent(1220);
    assert.equal(pace.restMs(1220), 125);
    for (let count = 0; count < 1000; count++) pace.answered();
    assert.ok(pace.allows(1221));
});

/* Requests of a client whose transport is no WebSocket; `fetch` stands for the server. */
const requestsByHttp = fetch => new Requests({
    link: () => null, prefersLink: () => false, isOpen: () => true, outlivesLink: () => true, url: () => 'http://s.invalid', query: () => '',
    device: () => 'd', fetch, token: async () => null, askAgain: () => false, keep() {}, answered() {}, random: () => 0.5,
});

async function ticks(count) {
    for (let at = 0; at < count; at++) await tick();
}

test('requests by HTTP: who is told at once that it is accepted pauses before it asks again', async () => {
    let asked = 0;
    const requests = requestsByHttp(async () => { asked++; await tick(); return new Response('{"id":"1"}', { status: 202 }); });
    const response = assert.rejects(requests.fetch('/a'), LongwireError);
    await ticks(40);
    requests.close();
    await response;
    assert.equal(asked, 1);
});

test('requests by HTTP: one that is aborted, or closed, makes room and leaves no connection behind', async () => {
    const asked = [];
    const requests = requestsByHttp((ms, url, { body, signal }) => new Promise((resolve, reject) => {
        asked.push(JSON.parse(body).path);
        signal.addEventListener('abort', () => { asked.push('end'); reject(signal.reason); });
    }));
    const ending = new AbortController();
    const responses = Promise.allSettled(['/1', '/2', '/3', '/4'].map(path => requests.fetch(path, { signal: ending.signal })));
    await ticks(10);
    const last = assert.rejects(requests.fetch('/5'), LongwireError);
    await ticks(10);
    assert.deepEqual(asked, ['/1', '/2', '/3', '/4']);   // as many as may be under way
    ending.abort();
    await ticks(10);
    assert.deepEqual(asked, ['/1', '/2', '/3', '/4', 'end', 'end', 'end', 'end', '/5']);
    requests.close();
    await ticks(10);
    assert.equal(asked.at(-1), 'end');
    await last;
    for (const { status } of await responses) assert.equal(status, 'rejected');
    assert.equal(asked.length, 10);
});

test('a fetch within a time ends by its own signal, too', async () => {
    const never = (url, { signal }) => new Promise((resolve, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener('abort', () => reject(signal.reason));
    });
    const ending = new AbortController();
    const within = fetchWithin(never, 60000, 'http://s.invalid', { signal: ending.signal });
    ending.abort(new Error('enough'));
    await assert.rejects(within, /enough/);
    await assert.rejects(fetchWithin(never, 60000, 'http://s.invalid', { signal: ending.signal }), /enough/);
    const awake = setInterval(() => {}, 1000);   // the time alone keeps no process alive
    await assert.rejects(fetchWithin(never, 1, 'http://s.invalid'), { message: /did not answer in time/ });
    clearInterval(awake);
    assert.equal(await fetchWithin(async () => 'there', 60000, 'http://s.invalid', { signal: new AbortController().signal }), 'there');
});
