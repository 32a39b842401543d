/* roster.js - who follows a channel now (docs/protocol.md, section 11). Pure but for `ask`.
 *
 * It is told the changes, and asks for the whole set whenever it is told a number alone, or the numbers differ. What it is told while
 * it asks holds for the answer too. */
const KEY = ({ user, device }) => `${user}/${device}`;   // a user's name has no slash
const RETRY_MS = 2000;

export class Roster {
    #devices = new Map();
    #ask;
    #onChange;
    #report;
    #meanwhile = null;      // what was told since it asked
    #isAskedAgain = false;
    #timer = 0;
    isClosed = false;

    /* ask: () → a promise of all [{ user, device, … }]. */
    constructor(ask, onChange, report) {
        this.#ask = ask;
        this.#onChange = onChange;
        this.#report = report;
    }

    get devices() {
        return [...this.#devices.values()];
    }

    get users() {
        return [...new Set(this.devices.map(({ user }) => user))].sort();
    }

    take(entry) {
        if (this.isClosed) return;
        if (entry.type === 'presence') { this.refresh(); return; }
        this.#meanwhile?.push(entry);
        this.#apply(entry);
        if (this.#devices.size !== entry.count && this.#meanwhile === null) this.refresh();
        else this.#onChange(this);
    }

    /* Asks for the set. One question at a time: what is told while it is under way may be newer, so it is asked once more. */
    async refresh() {
        if (this.#meanwhile !== null) { this.#isAskedAgain = true; return; }
        clearTimeout(this.#timer);
        this.#meanwhile = [];
        try {
            const devices = await this.#ask();
            if (this.isClosed) return;
            this.#devices = new Map(devices.map(one => [KEY(one), one]));
            for (const entry of this.#meanwhile) this.#apply(entry);
            this.#onChange(this);
        } catch (error) {
            if (this.isClosed) return;
            this.#report(error);
            if (!error.isFinal) this.#timer = setTimeout(() => this.refresh(), RETRY_MS);
        } finally {
            this.#meanwhile = null;
        }
        if (!this.#isAskedAgain) return;
        this.#isAskedAgain = false;
        this.refresh();
    }

    close() {
        this.isClosed = true;
        clearTimeout(this.#timer);
    }

    #apply({ type, user, device }) {
        if (type === 'join') this.#devices.set(KEY({ user, device }), { ...this.#devices.get(KEY({ user, device })), user, device });
        else this.#devices.delete(KEY({ user, device }));
    }
}
