/* link_places.js - where a link stands in each channel that it follows, and how that is compared with the server
 * (docs/protocol.md, 5.3).
 *
 * It is the place behind the last entry that came over this link, whatever the application has handled. A frame that was lost
 * on the way is found out by the next heartbeat, also where no later frame of its channel shows a hole. */
const MASK = (1n << 64n) - 1n;
const NO_PLACES = '0'.repeat(16);
const PAUSE_STEPS_MAX = 6;   // after so many heals in a row, every 64th heartbeat compares
/* Frames with a channel, epoch and seq that stand in no log. (The answer to a `read` has no epoch; the control message `read` has, and
 * stands in the log of the user.) */
const NO_ENTRIES = new Set(['published', 'ack', 'notify', 'join', 'leave']);

const utf8 = new TextEncoder();
const hexOf = number => number.toString(16).padStart(16, '0');

function bytesOf(number) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, number);
    return bytes;
}

/* FNV-1a 64 of length and name, epoch, seq; then mixed, so that steps of two channels don't cancel out in a sum. */
function termOf(channel, { epoch, seq }) {
    const name = utf8.encode(channel);
    let hash = 0xcbf29ce484222325n;
    for (const byte of [name.length, ...name, ...bytesOf(BigInt(`0x${epoch}`)), ...bytesOf(BigInt(seq))])
        hash = (hash ^ BigInt(byte)) * 0x100000001b3n & MASK;
    hash = (hash ^ hash >> 30n) * 0xbf58476d1ce4e5b9n & MASK;
    hash = (hash ^ hash >> 27n) * 0x94d049bb133111ebn & MASK;
    return hash ^ hash >> 31n;
}

export class LinkPlaces {
    #places = new Map();
    #asked = new Map();   // channel → the place that its last `subscribe` named

    asks(channel, after) {
        this.#asked.set(channel, after);
    }

    has(channel) {
        return this.#places.has(channel);
    }

    /* Every frame of the server, in their order. */
    take(frame) {
        const { type, channel, epoch } = frame;
        if (frame.replayed) return;   // of a response that is repeated: it is no place
        if (type === 'subscribed') this.#places.set(channel, { epoch, seq: frame.after ?? (frame.ref !== undefined ? this.#asked.get(channel) : undefined) ?? frame.head });
        else if (type === 'unsubscribed') this.#places.delete(channel);
        else if (!this.#places.has(channel)) return;
        else if (type === 'gap') this.#places.set(channel, { epoch, seq: frame.why === 'ahead' ? frame.from - 1 : frame.to });
        else if (epoch !== undefined && frame.seq !== undefined && !NO_ENTRIES.has(type)) this.#places.set(channel, { epoch, seq: frame.seq });
    }

    digest() {
        let digest = 0n;
        for (const [channel, place] of this.#places) digest += termOf(channel, place);
        return hexOf(digest & MASK);
    }

    /* What a pong says: null, or the server's places, as far as they are known: {} if it has none, undefined if they must
     * be asked for. */
    differenceOf({ digest, places }) {
        if (places) return places;
        if (digest === undefined || digest === this.digest()) return null;
        return digest === NO_PLACES ? {} : undefined;
    }

    /* Channels whose place is another one at the server, those that only the server has, and those that only this link has. */
    compare(places) {
        const here = channel => this.#places.get(channel);
        const names = Object.keys(places);
        return {
            moved: names.filter(channel => here(channel) && (here(channel).seq !== places[channel].seq || here(channel).epoch !== places[channel].epoch)),
            strays: names.filter(channel => !here(channel)),
            missing: [...this.#places.keys()].filter(channel => !Object.hasOwn(places, channel)),
        };
    }
}

/* When to compare. A difference that comes again and again is a fault that healing does not mend; it must not become a load. */
export class Comparing {
    #heals = 0;
    #pause = 0;

    isDue() {
        if (this.#pause === 0) return true;
        this.#pause--;
        return false;
    }

    agreed() {
        this.#heals = 0;
    }

    healed() {
        this.#heals = Math.min(this.#heals + 1, PAUSE_STEPS_MAX);
        this.#pause = 2 ** this.#heals - 1;
    }
}
