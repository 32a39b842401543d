/* errors.js - one class for what the server refuses and for what does not work on the way.
 *
 * code is the status that HTTP has for it, also where a WebSocket frame said so, and 0 where no server answered. */
export class LongwireError extends Error {
    constructor(code, reason, more = {}) {
        super(reason);
        this.name = 'LongwireError';
        this.code = code;
        Object.assign(this, more);
    }

    /* A limit of the server, which says when it may be tried again. */
    get isOfLimit() {
        return this.code === 429 && this.leastMs > 0;
    }

    /* A repeated request would be refused again: 4xx, except 408 (too slow) and 429 (too many). */
    get isFinal() {
        return this.code >= 400 && this.code < 500 && this.code !== 408 && this.code !== 429;
    }
}

/* What any thrown value says. fetch throws a TypeError where no server answers; its words differ from browser to browser. */
export function reasonOf(error) {
    if (error instanceof LongwireError) return error.message;
    if (error instanceof TypeError) return 'the server cannot be reached';
    return error?.message ?? String(error);
}

/* What the close codes of the server mean (docs/protocol.md, 5.4) as a status; the others say: come again. */
const CLOSES = { 1002: 400, 1003: 400, 1007: 400, 4001: 409, 4004: 401 };

export function errorOfClose(code, reason) {
    return new LongwireError(CLOSES[code] ?? 0, reason, { closeCode: code });
}

export const REPLACED = { code: 4001, reason: 'another link of this device has taken over' };
