/* Units of the client that need no server. node --test clients/js/test */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LongwireError, connect } from '../index.js';
import { backOffMs, DEFAULT_POLICY, policyOf } from '../lib/back_off.js';
import { EventStreamReader } from '../lib/event_stream.js';
import { httpUrl } from '../lib/http.js';
import { PlaceStore } from '../lib/place_store.js';
import { Subscription } from '../lib/subscription.js';

const tick = () => new Promise(resolve => setImmediate(resolve));
const bytes = text => new TextEncoder().encode(text);

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
