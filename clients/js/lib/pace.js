/* pace.js - how often frames of one kind are sent, once the server has said that they come too often (`error` 429 with `after`).
 * Pure: the time is handed in.
 *
 * Before that, they leave at once. From then on there is a gap between two: as long as the server said, a quarter longer after each
 * further refusal, 1/32 shorter with each answer that is none. So the client finds the rate that it is allowed, and few frames
 * are refused on the way. What was learnt on one link holds on the next. */
export class Pace {
    #gapMs = 0;
    #next = 0;    // nothing is sent before
    #rest = 0;    // what is refused before belongs to the last refusal

    allows(now) {
        return this.#gapMs === 0 || now >= this.#next;
    }

    /* How long nothing may be sent. */
    restMs(now) {
        return this.allows(now) ? 0 : this.#next - now;
    }

    sent(now) {
        if (this.#gapMs > 0) this.#next = now + this.#gapMs;
    }

    answered() {
        this.#gapMs -= this.#gapMs / 32;
        if (this.#gapMs < 0.5) this.#gapMs = 0;
    }

    /* Those that were sent before the first refusal came are refused too: they count as one. */
    refused(afterMs, now) {
        if (now >= this.#rest) this.#gapMs *= 1.25;
        this.#gapMs = Math.max(this.#gapMs, afterMs, 1);
        this.#rest = now + Math.max(afterMs, 1);
        this.#next = Math.max(this.#next, this.#rest);
    }
}
