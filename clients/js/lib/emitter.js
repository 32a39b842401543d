/* emitter.js - listeners by name. (Node.js 18 has no global CustomEvent, so this is no EventTarget.) */
export class Emitter {
    #listeners = new Map();

    /* Calls listener whenever the event happens. Returns a function that ends it. */
    on(name, listener) {
        if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
        this.#listeners.get(name).add(listener);
        return () => this.#listeners.get(name).delete(listener);
    }

    /* A listener that throws does not keep the others from being called; its error is reported as uncaught. */
    emit(name, detail) {
        for (const listener of this.#listeners.get(name) ?? []) {
            try {
                listener(detail);
            } catch (error) {
                queueMicrotask(() => { throw error; });
            }
        }
    }
}
