/* place_store.js - keeps what must outlive a page: places, and what resumes a session.
 *
 * A store is anything with get(name) and set(name, text); both may return promises. Web storage has other names for
 * them, and throws where it is full or forbidden. */
const KEEP = { session: 'sessionStorage', local: 'localStorage' };
const CHANNELS_MAX = 1000;   // of which places are kept; those that were written longest ago go first

function storeOf(keep) {
    if (typeof keep === 'object') return keep;
    const storage = globalThis[KEEP[keep]];
    if (!storage) throw new TypeError(`keep: '${keep}' needs ${KEEP[keep] ?? "'session', 'local' or an object with get and set"}, which is not here`);
    return { get: name => storage.getItem(name), set: (name, text) => storage.setItem(name, text) };
}

export class PlaceStore {
    #store;
    #name;
    #kept = { places: {} };
    #isDirty = false;
    #writing = null;
    #onError;

    /* keep: falsy (nothing is kept), 'session', 'local', or a store. */
    constructor(keep, name, onError) {
        this.#store = keep ? storeOf(keep) : null;
        this.#name = name;
        this.#onError = onError;
    }

    /* What cannot be read counts as nothing: the client begins as if for the first time. */
    async load() {
        if (!this.#store) return;
        try {
            const text = await this.#store.get(this.#name);
            const kept = text ? JSON.parse(text) : {};
            this.#kept = { ...kept, places: kept.places ?? {} };
        } catch (error) {
            this.#onError(error);
        }
    }

    get(member) {
        return this.#kept[member];
    }

    set(member, value) {
        this.#kept[member] = value;
        this.#touch();
    }

    placeOf(channel) {
        return this.#kept.places[channel] ?? null;
    }

    setPlace(channel, place) {
        const places = this.#kept.places;
        if (!(channel in places) && Object.keys(places).length >= CHANNELS_MAX) delete places[Object.keys(places)[0]];
        places[channel] = place;
        this.#touch();
    }

    forget(channel) {
        delete this.#kept.places[channel];
        this.#touch();
    }

    forgetPlaces() {
        this.#kept.places = {};
        for (const member of ['cursor', 'covered']) delete this.#kept[member];
        this.#touch();
    }

    /* Writes of one turn go together, so that a burst of messages is one write. */
    #touch() {
        if (!this.#store || this.#isDirty) return;
        this.#isDirty = true;
        setTimeout(() => this.flush(), 0);
    }

    /* Writes now what is not written. Web storage has it when this returns, which counts while a page is closed. A store
     * with promises gets the next write when it has done the last one. */
    flush() {
        if (!this.#isDirty || this.#writing) return this.#writing;
        this.#isDirty = false;
        try {
            const done = this.#store.set(this.#name, JSON.stringify(this.#kept));
            if (!done?.then) return null;
            this.#writing = done.then(() => {}, this.#onError).then(() => { this.#writing = null; return this.flush(); });
        } catch (error) {
            this.#onError(error);
        }
        return this.#writing;
    }
}
