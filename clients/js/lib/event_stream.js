/* event_stream.js - reads text/event-stream (WHATWG HTML, 9.2.6). Pure: bytes in, events out; any cut of the bytes gives
 * the same events. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;   // a payload of 1 MiB takes 6 MiB if each byte is escaped

export class EventStreamReader {
    #decoder = new TextDecoder('utf-8');
    #rest = '';             // of a line whose end has not come
    #data = [];
    #name = '';
    lastId = '';
    retryMs = null;

    /* Returns the events that end in these bytes: { name, data, id }. */
    feed(bytes) {
        const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
        // A CR at the end may be half of a CR LF.
        const whole = text.endsWith('\r') ? text.slice(0, -1) : text;
        const lines = whole.split(/\r\n|\n|\r/);
        this.#rest = lines.pop() + text.slice(whole.length);
        if (this.#rest.length > LINE_BYTES_MAX) throw new Error('a line of the event stream is too long');
        return lines.map(line => this.#line(line)).filter(Boolean);
    }

    #line(line) {
        if (line === '') return this.#dispatch();
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'data') this.#data.push(value);
        else if (field === 'event') this.#name = value;
        else if (field === 'id' && !value.includes('\0')) this.lastId = value;
        else if (field === 'retry' && /^\d+$/.test(value)) this.retryMs = Number(value);
        return null;
    }

    #dispatch() {
        const event = this.#data.length === 0 ? null
            : { name: this.#name || 'message', data: this.#data.join('\n'), id: this.lastId };
        this.#data = [];
        this.#name = '';
        return event;
    }
}
