/* node_websocket.js - a WebSocket for Node.js before 22, which has none: RFC 6455 over node:http, with the members of the
 * browser's that the client uses. No extensions. Loaded only where it is needed. */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';   // RFC 6455, 1.3
const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
const CLOSE_MS = 5000;   // how long the server may take to answer a close
const NO_STATUS = 1005, LOST = 1006, PROTOCOL = 1002, NOT_UTF8 = 1007, TOO_BIG = 1009;

class Fault extends Error {
    constructor(code, reason) {
        super(reason);
        this.code = code;
    }
}

export class NodeWebSocket {
    readyState = 0;
    protocol = '';
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    #request;
    #socket = null;
    #input = Buffer.alloc(0);
    #pieces = [];           // of a message whose end has not come
    #pieceBytes = 0;
    #opcode = 0;
    #closeFrame = null;     // the server's: [code, reason]
    #timer = 0;

    constructor(url, protocols = []) {
        const target = new URL(url.replace(/^ws/, 'http'));
        const key = randomBytes(16).toString('base64');
        this.#request = (target.protocol === 'https:' ? https : http).request(target, {
            headers: {
                Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': 13, 'Sec-WebSocket-Key': key,
                ...(protocols.length > 0 && { 'Sec-WebSocket-Protocol': protocols.join(', ') }),
            },
            agent: false,
        });
        this.#request.on('upgrade', (answer, socket, head) => this.#onUpgrade(answer, socket, head, key, protocols));
        this.#request.on('response', answer => this.#onResponse(answer));
        this.#request.on('error', error => this.#ended(LOST, error.message));
        this.#request.end();
    }

    send(data) {
        if (this.readyState !== 1) return;
        const isText = typeof data === 'string';
        this.#write(isText ? TEXT : BINARY, isText ? Buffer.from(data) : Buffer.from(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength));
    }

    close(code, reason = '') {
        if (this.readyState > 1) return;
        const wasOpen = this.readyState === 1;
        this.readyState = 2;
        if (!wasOpen) { this.#request.destroy(); this.#ended(LOST, ''); return; }
        const body = code ? Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]) : Buffer.alloc(0);
        this.#write(CLOSE, body);
        this.#timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
        this.#timer.unref();
    }

    #onResponse(answer) {
        answer.resume();
        this.#request.destroy();
        this.#ended(LOST, `the server answered ${answer.statusCode} to the WebSocket handshake`);
    }

    #onUpgrade(answer, socket, head, key, protocols) {
        if (this.readyState !== 0) { socket.destroy(); return; }
        this.#socket = socket;
        this.protocol = answer.headers['sec-websocket-protocol'] ?? '';
        const isOurs = answer.headers['sec-websocket-accept'] === createHash('sha1').update(key + GUID).digest('base64');
        socket.on('error', () => {});   // `close` follows
        if (!isOurs || (this.protocol && !protocols.includes(this.protocol))) {
            socket.destroy();
            this.#ended(LOST, 'the answer to the WebSocket handshake is not one');
            return;
        }
        socket.setNoDelay(true);
        this.readyState = 1;
        socket.on('close', () => this.#ended(...(this.#closeFrame ?? [LOST, ''])));
        socket.on('end', () => socket.destroy());
        this.onopen?.({});
        socket.on('data', bytes => this.#onBytes(bytes));
        if (head.length > 0) this.#onBytes(head);
    }

    #ended(code, reason) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        clearTimeout(this.#timer);
        if (code === LOST) this.onerror?.({});
        this.onclose?.({ code, reason, wasClean: this.#closeFrame !== null });
    }

    /* RFC 6455, 5.2; a client masks what it sends (5.3). */
    #write(opcode, body) {
        const long = body.length > 65535, middle = body.length > 125 && !long;
        const head = Buffer.alloc(2 + (long ? 8 : middle ? 2 : 0));
        head[0] = 0x80 | opcode;
        head[1] = 0x80 | (long ? 127 : middle ? 126 : body.length);
        if (long) head.writeBigUInt64BE(BigInt(body.length), 2);
        else if (middle) head.writeUInt16BE(body.length, 2);
        const mask = randomBytes(4);
        const masked = Buffer.allocUnsafe(body.length);
        for (let i = 0; i < body.length; i++) masked[i] = body[i] ^ mask[i & 3];
        this.#socket.write(Buffer.concat([head, mask, masked]));
    }

    #onBytes(bytes) {
        this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
        try {
            while (this.readyState < 3 && this.#takeFrame());
        } catch (fault) {
            if (!(fault instanceof Fault)) throw fault;
            this.close(fault.code, fault.message);
            this.#closeFrame = [fault.code, fault.message];
            this.#socket.destroy();
        }
    }

    #takeFrame() {
        const input = this.#input;
        if (input.length < 2) return false;
        const [first, second] = input;
        if (first & 0x70) throw new Fault(PROTOCOL, 'reserved bit set');
        if (second & 0x80) throw new Fault(PROTOCOL, 'a frame of the server is masked');
        let length = second & 0x7f, at = 2;
        if (length === 126) {
            if (input.length < 4) return false;
            [length, at] = [input.readUInt16BE(2), 4];
        } else if (length === 127) {
            if (input.length < 10) return false;
            [length, at] = [Number(input.readBigUInt64BE(2)), 10];
        }
        if (this.#pieceBytes + length > MESSAGE_BYTES_MAX) throw new Fault(TOO_BIG, 'the message is too long');
        if (input.length < at + length) return false;
        this.#input = input.subarray(at + length);
        this.#onFrame(first & 0x0f, (first & 0x80) !== 0, input.subarray(at, at + length));
        return true;
    }

    #onFrame(opcode, isLast, body) {
        if (opcode >= CLOSE) { this.#onControl(opcode, isLast, body); return; }
        if (opcode > BINARY) throw new Fault(PROTOCOL, 'unknown opcode');
        if ((opcode === 0) !== (this.#pieces.length > 0)) throw new Fault(PROTOCOL, 'a fragment is out of place');
        if (opcode !== 0) this.#opcode = opcode;
        this.#pieces.push(body);
        this.#pieceBytes += body.length;
        if (!isLast) return;
        const whole = this.#pieces.length === 1 ? body : Buffer.concat(this.#pieces);
        this.#pieces = [];
        this.#pieceBytes = 0;
        this.onmessage?.({ data: this.#opcode === TEXT ? textOf(whole) : new Uint8Array(whole).buffer });
    }

    #onControl(opcode, isLast, body) {
        if (!isLast || body.length > 125) throw new Fault(PROTOCOL, 'a control frame is too long or in pieces');
        if (opcode === PING && this.readyState === 1) this.#write(PONG, body);
        if (opcode !== CLOSE) return;
        this.#closeFrame = body.length >= 2 ? [body.readUInt16BE(0), textOf(body.subarray(2))] : [NO_STATUS, ''];
        if (this.readyState === 1) this.#write(CLOSE, body.subarray(0, 2));
        this.readyState = 2;
        this.#socket.end();
    }
}

function textOf(bytes) {
    try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
        throw new Fault(NOT_UTF8, 'the text is not UTF-8');
    }
}
