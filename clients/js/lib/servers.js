/* servers.js - which of several servers is tried next. It asks nobody: what `allocate` and `reconnect` say is handed in.
 *
 * The list is what the application named, until an answer of `allocate` replaces it. All nodes of a cluster give the same messages
 * under the same numbers, so a client may go from one to the other at any time. */
import { httpUrl } from './http.js';
import { LongwireError } from './errors.js';

export class Servers {
    #named;             // by the application
    #list;
    #at = 0;
    #tried = 1;         // of the list, since the last one that worked
    #redirect = null;

    /* An address, several in an array, or several in one text with commas. */
    constructor(urls) {
        this.#named = (Array.isArray(urls) ? urls : String(urls).split(',')).map(url => httpUrl(String(url).trim()));
        if (this.#named.length === 0) throw new LongwireError(0, 'the client needs the address of a server');
        const odd = this.#named.find(url => !/^https?:/.test(url));
        if (odd) throw new TypeError(`${odd} is no address of a server: write for instance http://127.0.0.1:8080`);
        this.#list = this.#named;
    }

    get url() {
        return this.#redirect ?? this.#list[this.#at];
    }

    /* Whom to ask where to connect. */
    get named() {
        return this.#named;
    }

    /* The one in use is of no use. false: all have been tried in vain, and it is time to wait. */
    next() {
        if (this.#redirect !== null) {
            this.#redirect = null;
            return true;
        }
        this.#at = (this.#at + 1) % this.#list.length;
        this.#tried++;
        if (this.#tried <= this.#list.length) return true;
        this.#tried = 1;
        return false;
    }

    worked() {
        this.#tried = 1;
    }

    /* The server in use sent this client elsewhere: addresses as the setting `advertise` has them, "http://a:8080,tcp://a:7400". */
    sendTo(where) {
        const urls = this.#usable(where.split(',').map(text => text.trim()));
        if (urls.length > 0) this.#redirect = urls[0];
    }

    /* The nodes that `allocate` named, best first. None that can be used: the list stays. */
    take(nodes) {
        const wants = this.#named[0].startsWith('https:') ? ['https', 'http'] : ['http', 'https'];
        const urls = this.#usable(nodes.map(node => node[wants[0]] ?? node[wants[1]]));
        if (urls.length === 0) return;
        this.#list = urls;
        this.#at = 0;
        this.#tried = 1;
        this.#redirect = null;
    }

    /* A client that came by https does not go on without it. */
    #usable(texts) {
        const isSecure = this.#named[0].startsWith('https:');
        return texts.filter(text => /^(http|ws)s?:\/\//.test(text ?? '')).map(httpUrl).filter(url => !isSecure || url.startsWith('https:'));
    }
}
