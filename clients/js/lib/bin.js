/* bin.js - longwire.bin.v1 on a WebSocket (docs/protocol.md, section 9): the frames of the client to bytes, those of the
 * server to the objects that JSON has for them. Pure. What a codec must remember of a link is its aliases. */
import { LongwireError } from './errors.js';

const FLAG = 0, NUMBER = 1, BYTES = 2, FIXED = 3;
const PLACES = 'places';   // bytes of another form (9.4)
const HEADERS = 'headers'; // … and of another one (9.1)
const PAYLOAD = 0x80, MINUS = 0x40, TYPE_BITS = 0x3f, VITAL = 4;
const CONNECT = 0x01, ALIAS = 0x10, MESSAGE = 0x11, FULL = 0x12, GAP = 0x13;
const FIXED_BYTES = 8, VARINT_BYTES_MAX = 10;
const VERSION = 1;
const WHY = ['expired', 'trimmed', 'epoch', 'ahead', 'corrupt', 'collapsed'];
const MODES = ['push', 'notify'];
const PRIORITIES = ['now', 'beat'];
const CONTROL_MEDIA = /^application\/vnd\.longwire\.([a-z_]+)\+json$/;
const JSON_MEDIA = /^application\/(json|[^;]+\+json)\s*(;|$)/i;

/* number → [name, form]; a text is bytes that are UTF-8. */
const FIELDS = {
    1: ['ref', NUMBER], 2: ['channel', BYTES], 3: ['epoch', FIXED], 4: ['seq', NUMBER], 5: ['id', NUMBER], 6: ['time', NUMBER],
    7: ['media', BYTES], 8: ['from', BYTES], 9: ['event', BYTES], 10: ['head', NUMBER], 11: ['alias', NUMBER], 12: ['code', NUMBER],
    13: ['reason', BYTES], 14: ['key', BYTES], 15: ['ttl', NUMBER], 16: ['token', BYTES], 17: ['user', BYTES], 18: ['device', BYTES],
    19: ['standing', FLAG], 20: ['session', BYTES], 21: ['connection', FIXED], 22: ['generation', NUMBER], 23: ['ticket', BYTES],
    24: ['resume', PLACES], 25: ['cursor', BYTES], 26: ['heartbeat', NUMBER], 27: ['next_ms', NUMBER], 28: ['digest', FIXED],
    29: ['mode', NUMBER], 30: ['priority', NUMBER], 31: ['class', BYTES], 32: ['keep', FLAG], 33: ['presence', FLAG],
    34: ['after', NUMBER], 35: ['last', NUMBER], 36: ['gap_from', NUMBER], 37: ['gap_to', NUMBER], 38: ['why', NUMBER],
    39: ['target', NUMBER], 40: ['recalled', FLAG], 41: ['resumed', FLAG], 42: ['replayed', FLAG], 43: ['collapse_key', BYTES],
    44: ['base_ms', NUMBER], 45: ['factor', NUMBER], 46: ['cap_ms', NUMBER], 47: ['jitter', NUMBER], 48: ['after_ms', NUMBER],
    49: ['where', BYTES], 50: ['in', NUMBER], 51: ['count', NUMBER], 52: ['frame_max', NUMBER], 53: ['request', BYTES],
    54: ['method', BYTES], 55: ['path', BYTES], 56: ['headers', HEADERS], 58: ['timeout_ms', NUMBER], 60: ['features', NUMBER],
    61: ['version', NUMBER], 62: ['places', FLAG], 63: ['unfenced', FLAG],
};
const wireForm = form => form === PLACES || form === HEADERS ? BYTES : form;
const NUMBERS = Object.fromEntries(Object.entries(FIELDS).map(([number, [name]]) => [name, Number(number)]));

const CLIENT_TYPES = { connect: 0x01, subscribe: 0x02, unsubscribe: 0x03, publish: 0x04, cursor: 0x05, ack: 0x06, read: 0x07, ping: 0x08, pong: 0x09, request: 0x0a, cancel: 0x0b };
const SERVER_TYPES = {
    0x01: 'connected', 0x02: 'subscribed', 0x03: 'unsubscribed', 0x04: 'published', 0x05: 'cursor', 0x06: 'ack', 0x07: 'read', 0x08: 'ping',
    0x09: 'pong', 0x0a: 'accepted', 0x13: 'gap', 0x14: 'notify', 0x15: 'join', 0x16: 'leave', 0x17: 'presence', 0x20: 'error', 0x21: 'reconnect', 0x22: 'replaced',
    0x23: 'expiring', 0x24: 'closing',
};

const utf8 = new TextEncoder();
const readText = bytes => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
const hexOf = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');

/* What the application says wrongly is refused as the server would, before it becomes bytes that mean something else. */
function wholeOf(name, value) {
    const whole = Number(value);
    if (!Number.isSafeInteger(whole) || whole < 0) throw new LongwireError(400, `${name} is a whole number from 0 on, and not ${value}`);
    return whole;
}

function codeOf(name, names, value) {
    const code = names.indexOf(value);
    if (code < 0) throw new LongwireError(400, `${name} is ${names.join(' or ')}, and not ${value}`);
    return code;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

class Writer {
    #bytes = new Uint8Array(256);
    #length = 0;

    get bytes() {
        return this.#bytes.subarray(0, this.#length);
    }

    #room(count) {
        if (this.#length + count <= this.#bytes.length) return;
        const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + count));
        larger.set(this.bytes);
        this.#bytes = larger;
    }

    byte(value) {
        this.#room(1);
        this.#bytes[this.#length++] = value;
    }

    put(bytes) {
        this.#room(bytes.length);
        this.#bytes.set(bytes, this.#length);
        this.#length += bytes.length;
    }

    /* Divides, because >> takes 32 bits and numbers have 53. */
    varint(value) {
        for (; value > 0x7f; value = Math.floor(value / 128)) this.byte(0x80 | value % 128);
        this.byte(value);
    }

    sized(bytes) {
        this.varint(bytes.length);
        this.put(bytes);
    }

    epoch(hex) {
        for (let at = 0; at < 2 * FIXED_BYTES; at += 2) this.byte(parseInt(hex.slice(at, at + 2), 16));
    }

    /* All fields are vital: a server that does not know one must not act as if it was not there. */
    field(name, value) {
        if (value === undefined || value === null || value === false || value === '') return;
        const number = NUMBERS[name];
        const form = FIELDS[number][1];
        this.varint(number << 3 | VITAL | wireForm(form));
        if (form === NUMBER) this.varint(wholeOf(name, value));
        else if (form === FIXED) this.epoch(value);
        else if (wireForm(form) === BYTES) this.sized(typeof value === 'string' ? utf8.encode(value) : value);
    }
}

function placesOf(resume) {
    const writer = new Writer();
    for (const [channel, { seq, epoch }] of Object.entries(resume)) {
        writer.sized(utf8.encode(channel));
        writer.varint(seq);
        writer.byte(epoch ? FIXED_BYTES : 0);
        if (epoch) writer.epoch(epoch);
    }
    return writer.bytes;
}

/* Fields of HTTP: an object, or pairs. */
function headersOf(headers) {
    const writer = new Writer();
    for (const [name, value] of Array.isArray(headers) ? headers : Object.entries(headers)) {
        writer.sized(utf8.encode(name));
        writer.sized(utf8.encode(value));
    }
    return writer.bytes;
}

function readPlaces(bytes) {
    const reader = new Reader(bytes), places = {};
    while (!reader.isAtEnd) {
        const channel = readText(reader.take(reader.varint()));
        const seq = reader.varint(), length = reader.byte();
        if (length !== 0 && length !== FIXED_BYTES) throw new Error('an epoch has 8 bytes');
        places[channel] = { seq, ...(length > 0 && { epoch: hexOf(reader.take(length)) }) };
    }
    return places;
}

/* A frame as JSON has it → its fields. */
function fieldsOf({ type, id, session, mode, priority, resume, headers, data: _data, json: _json, body: _body, bytes: _bytes, ...same }) {
    const isOfRequest = type === 'request' || type === 'cancel';
    return {
        ...same, ...(id !== undefined && { [isOfRequest ? 'request' : 'id']: id }), ...(headers && { headers: headersOf(headers) }),
        ...(session && { standing: true }), ...(mode && { mode: codeOf('mode', MODES, mode) }),
        ...(priority && { priority: codeOf('priority', PRIORITIES, priority) }), ...(resume && { resume: placesOf(resume) }),
    };
}

/* A string is the payload itself, also under a JSON media type, as in a frame of JSON. Without a media type it is text for the server
 * too, if it is UTF-8; any other value is JSON. */
function payloadOf({ data, json, bytes, media }) {
    if (bytes !== undefined) return { payload: bytes, media: media ?? 'application/octet-stream' };
    const isText = json === undefined && typeof data === 'string';
    return { payload: utf8.encode(isText ? data : json ?? JSON.stringify(data)), media: media ?? (isText ? undefined : 'application/json') };
}

/* A field says what the body is, where its kind alone does. */
function requestOf({ body, bytes, headers = {}, ...same }) {
    const { payload, media } = bytes === undefined && body === undefined ? { payload: new Uint8Array(0) } : payloadOf({ data: body, bytes });
    const isSaid = Object.keys(headers).some(name => name.toLowerCase() === 'content-type');
    const all = media && !isSaid && payload.length > 0 ? { ...headers, 'Content-Type': media } : headers;
    return { frame: { ...same, ...(Object.keys(all).length > 0 && { headers: all }) }, payload };
}

function encode(frame) {
    if (frame.type === 'request') {
        const { frame: plain, payload } = requestOf(frame);
        return put(plain, payload);
    }
    const { payload, media } = frame.type === 'publish' ? payloadOf(frame) : {};
    return put({ ...frame, ...(media && { media }) }, payload);
}

function put(frame, payload = new Uint8Array(0)) {
    const type = CLIENT_TYPES[frame.type];
    const fields = new Writer(), whole = new Writer();
    const values = fieldsOf(frame);
    for (const name of Object.keys(values).sort((a, b) => NUMBERS[a] - NUMBERS[b])) fields.field(name, values[name]);
    whole.byte(type | (payload.length > 0 ? PAYLOAD : 0));
    if (type === CONNECT) for (const byte of [0x4c, 0x57, VERSION, VERSION]) whole.byte(byte);
    if (payload.length > 0) whole.varint(fields.bytes.length);
    whole.put(fields.bytes);
    whole.put(payload);
    return whole.bytes;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

class Reader {
    #at = 0;

    constructor(bytes) {
        this.bytes = bytes;
    }

    get isAtEnd() {
        return this.#at === this.bytes.length;
    }

    byte() {
        if (this.isAtEnd) throw new Error('the frame ends too early');
        return this.bytes[this.#at++];
    }

    take(count) {
        if (count > this.bytes.length - this.#at) throw new Error('a field ends behind its frame');
        this.#at += count;
        return this.bytes.subarray(this.#at - count, this.#at);
    }

    rest() {
        return this.take(this.bytes.length - this.#at);
    }

    varint() {
        let value = 0, scale = 1;
        for (let count = 1; ; count++, scale *= 128) {
            const byte = this.byte();
            value += (byte & 0x7f) * scale;
            if (byte > 0x7f && count < VARINT_BYTES_MAX) continue;
            if (byte > 0x7f || (byte === 0 && count > 1)) throw new Error('a varint is not the shortest');
            if (value > Number.MAX_SAFE_INTEGER) throw new Error('a number is above 2^53');
            return value;
        }
    }
}

/* null where a field is vital and not known: the frame is ignored then. */
function readFields(reader) {
    const fields = {};
    let isKnown = true;
    while (!reader.isAtEnd) {
        const key = reader.varint();
        const [number, form] = [Math.floor(key / 8), key & 3];
        const value = form === FLAG ? true : form === NUMBER ? reader.varint() : reader.take(form === BYTES ? reader.varint() : FIXED_BYTES);
        const [name, ownForm] = FIELDS[number] ?? [];
        if (name === undefined) isKnown &&= (key & VITAL) === 0;
        else if (form !== wireForm(ownForm)) throw new Error(`the field ${name} has another form`);
        else if (name in fields) throw new Error(`the field ${name} comes twice`);
        else fields[name] = form === FIXED ? hexOf(value) : ownForm === PLACES ? readPlaces(value) : ownForm === HEADERS ? value : form === BYTES ? readText(value) : value;
    }
    return isKnown ? fields : null;
}

/* The payload as JSON has it: control messages have their members at top level. */
function withPayload(message, payload) {
    const control = CONTROL_MEDIA.exec(message.media ?? '');
    if (control) {
        const { media: _media, ...same } = message;
        return { ...same, ...JSON.parse(readText(payload)), type: control[1] };
    }
    return { ...message, data: dataOf(message.media, payload) };
}

function dataOf(media, payload) {
    if (JSON_MEDIA.test(media) && payload.length > 0) return JSON.parse(readText(payload));
    try {
        return readText(payload);
    } catch {
        return new Uint8Array(payload);
    }
}

export class BinCodec {
    static protocol = 'longwire.bin.v1';
    #aliases = new Map();

    encode(frame) {
        return encode(frame);
    }

    /* One WebSocket message → the frames in it: one, or none where it is of no concern. Throws what closes the link. */
    decode(data) {
        const bytes = new Uint8Array(data);
        if (bytes.length === 0) return [];
        const reader = new Reader(bytes);
        const head = reader.byte();
        const frame = this.#read(head & TYPE_BITS, head, reader);
        return frame ? [frame] : [];
    }

    #read(type, head, reader) {
        if (type === MESSAGE) return this.#readMessage(head, reader);
        const isFlagKnown = (head & (PAYLOAD | MINUS)) === 0 || (type === FULL && (head & MINUS) === 0);
        if (!isFlagKnown) throw new Error('a flag that this version does not have');
        const fields = readFields(head & PAYLOAD ? new Reader(reader.take(reader.varint())) : reader);
        if (fields === null) return null;
        if (type === FULL) return fullMessage(fields, reader.isAtEnd ? new Uint8Array(0) : reader.rest());
        if (type === ALIAS) { this.#aliases.set(fields.alias, fields); return null; }
        return type in SERVER_TYPES ? this.#plain(type, fields) : null;
    }

    #readMessage(head, reader) {
        const alias = this.#aliases.get(reader.varint());
        if (!alias) throw new Error('a message of an alias that was not announced');
        const sign = head & MINUS ? -1 : 1;
        const [seq, id, time] = [alias.seq, alias.id, alias.time].map(base => (base ?? 0) + sign * reader.varint());
        const own = head & PAYLOAD ? readFields(new Reader(reader.take(reader.varint()))) : {};
        if (own === null) return null;
        const { media = alias.media, from = alias.from ?? null, event } = own;
        const message = { type: 'message', channel: alias.channel, epoch: alias.epoch, seq, id, time, from, media, ...(event && { event }) };
        return withPayload(message, reader.rest());
    }

    #plain(type, fields) {
        const name = SERVER_TYPES[type];
        if (type === GAP) {
            const { gap_from: from, gap_to: to, why, ...same } = fields;
            return { type: name, ...same, from, to, why: WHY[why ?? 0] ?? `reason ${why}` };
        }
        if (name === 'connected') return connectedOf(fields);
        if (name === 'pong' && fields.resume) {
            const { resume: places, ...same } = fields;
            return { type: name, ...same, places };
        }
        if (name === 'error' && fields.after_ms !== undefined) {
            const { after_ms: after, ...same } = fields;
            fields = { ...same, after };
        }
        if (name === 'reconnect') return { type: name, after: fields.after_ms ?? 0, ...(fields.where && { where: fields.where }) };
        if (fields.alias !== undefined) {
            const { alias, ...same } = fields;
            return { type: name, ...same, channel: this.#aliases.get(alias)?.channel };
        }
        if (fields.request !== undefined) {
            const { request: id, ...same } = fields;
            return { type: name, ...same, id };
        }
        return { type: name, ...fields };
    }
}

function fullMessage({ target, recalled, from = null, ...same }, payload) {
    if (target !== undefined) return { type: 'recall', ...same, from, target };
    if (recalled) return { type: 'message', ...same, from, recalled: true };
    return withPayload({ type: 'message', ...same, from }, payload);
}

function connectedOf({ base_ms, factor, cap_ms, jitter, resumed = false, unfenced = false, ...same }) {
    const policy = base_ms === undefined ? {} : { reconnect: { base_ms, factor: factor / 100, cap_ms, jitter: jitter / 1000 } };
    return { type: 'connected', ...same, resumed, ...(unfenced && { fenced: false }), ...policy };
}
