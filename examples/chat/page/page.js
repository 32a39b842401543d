/* page.js - one user on one device. The session follows the user's rooms by itself: membership messages in the user's log say which.
 *
 * A message is acknowledged when it is shown, so its receipts say who has seen it. A read mark says the same to the user's other
 * devices. Rows are kept by seq, so history and what is live may overlap. */
import { connect } from '/longwire/index.js';

const HISTORY = 50;
const ASKED_MAX = 5;          // of one's own messages, the newest, that receipts are asked for …
const RECEIPTS_MS = 1500;     // … so often, until all have read them
const at = id => document.getElementById(id);
const groupOf = room => `group:${room}`;
const roomOf = channel => channel.slice('group:'.length);

async function ask(path, body) {
    const answer = await fetch(path, body && { method: 'POST', body: JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    return said;
}

const { server, rooms } = await ask('server');

class Chat {
    #client;
    #name;
    #token = null;
    #joined = new Set();
    #rows = new Map();      // room → seq → message
    #unread = new Map();    // room → seqs
    #room = null;
    #roster = null;         // of the room that is shown
    #members = [];

    constructor(name) {
        this.#name = name;
        this.#client = connect(server, {
            token: () => this.#askToken(), session: true, presence: true, ack: 'manual', keep: 'session', keepName: `chat of ${name}`,
            onMessage: message => this.#take(message),
        });
        this.#client.on('state', ({ name: state, why }) => {
            at('link').dataset.state = state;
            at('link').textContent = why ? `${state}: ${why}` : state;
        });
        this.#client.on('membership', ({ group, joined }) => this.#onMembership(group, joined));
        this.#client.on('read', ({ target_channel: channel, target }) => this.#onRead(roomOf(channel), target));
        document.addEventListener('visibilitychange', () => this.#markRead());
        setInterval(() => this.#askReceipts(), RECEIPTS_MS);
        at('login').hidden = true;
        at('chat').hidden = false;
        at('who').textContent = name;
        this.#makeRooms();
        at('write').onsubmit = event => { event.preventDefault(); this.#send(); };
    }

    async start() {
        const { groups } = await this.#get(`/v1/users/${encodeURIComponent(this.#name)}/groups`);
        if (groups.length === 0) {
            await ask('join', { name: this.#name, room: rooms[0] });
            groups.push(rooms[0]);   // no membership message says so to a session that begins behind it
        }
        for (const room of groups) this.#joined.add(room);
        if (this.#room === null) await this.#enter(groups[0]);
    }

    async #askToken() {
        return (this.#token = (await ask('token', { name: this.#name })).token);
    }

    async #get(path) {
        const answer = await fetch(server + path, { headers: { Authorization: `Bearer ${this.#token ?? await this.#askToken()}` } });
        const said = await answer.json();
        if (!answer.ok) throw new Error(said.detail);
        return said;
    }

    /* --- messages ----------------------------------------------------------------------------------------------- */

    #take(message) {
        const room = roomOf(message.channel);
        if (!this.#keep(message)) return;
        if (message.from !== `user:${this.#name}`) this.#unreadOf(room).add(message.seq);
        if (room === this.#room) this.#show();
        this.#markRead();
        this.#showRooms();
    }

    #keep({ channel, seq, from, time, data }) {
        const room = roomOf(channel);
        if (channel !== groupOf(room) || typeof data?.text !== 'string') return false;
        if (!this.#rows.has(room)) this.#rows.set(room, new Map());
        this.#rows.get(room).set(seq, { from, time, text: data.text, seen: '', ...this.#rows.get(room).get(seq) });
        return true;
    }

    #unreadOf(room) {
        if (!this.#unread.has(room)) this.#unread.set(room, new Set());
        return this.#unread.get(room);
    }

    /* What is on the screen has been read. */
    #markRead() {
        const seqs = [...this.#rows.get(this.#room)?.keys() ?? []];
        const subscription = this.#client.subscription(groupOf(this.#room ?? ''));
        if (seqs.length === 0 || document.visibilityState !== 'visible' || !subscription) return;
        const seq = Math.max(...seqs);
        subscription.ack(seq);
        if (this.#unreadOf(this.#room).size === 0) return;
        this.#unreadOf(this.#room).clear();
        this.#showRooms();
        this.#client.read(groupOf(this.#room), seq).catch(error => this.#trouble(error));
    }

    /* On another device of this user. */
    #onRead(room, target) {
        for (const seq of this.#unreadOf(room)) if (seq <= target) this.#unreadOf(room).delete(seq);
        this.#client.subscription(groupOf(room))?.ack(target);
        this.#showRooms();
    }

    /* Of this user's own messages: a member has read one if any of their devices has acknowledged it. */
    async #askReceipts() {
        const room = this.#room;
        const own = [...this.#rows.get(room) ?? []].filter(([, { from, isDone }]) => from === `user:${this.#name}` && !isDone);
        for (const [seq, row] of own.slice(-ASKED_MAX)) {
            try {
                const { devices } = await this.#client.receipts(groupOf(room), seq, { limit: 500 });
                Object.assign(row, seenOf(devices.filter(({ user }) => user !== this.#name)));
            } catch (error) {
                row.isDone = error.isFinal;   // it is no longer kept, or this user is no longer a member
            }
        }
        if (own.length > 0 && room === this.#room) this.#show();
    }

    /* --- rooms -------------------------------------------------------------------------------------------------- */

    async #onMembership(group, joined) {
        if (joined) this.#joined.add(group);
        else {
            this.#joined.delete(group);
            this.#rows.delete(group);
            this.#unread.delete(group);
        }
        if (joined && this.#room === null) await this.#enter(group);
        else if (!joined && group === this.#room) await this.#enter([...this.#joined][0] ?? null);
        else this.#showRooms();
    }

    async #enter(room) {
        this.#room = room;
        this.#roster?.close();
        this.#roster = null;
        this.#members = [];
        this.#showRooms();
        this.#showMembers();
        this.#show();
        if (room === null) return;
        const { messages } = await this.#get(`/v1/channels/${encodeURIComponent(groupOf(room))}/messages?before=9007199254740991&limit=${HISTORY}`);
        for (const message of messages) if (message.type === 'message') this.#keep(message);
        if (room !== this.#room) return;
        this.#show();
        this.#markRead();
        this.#roster = this.#client.roster(groupOf(room), () => this.#onRoster(room));
    }

    /* Somebody came or went, and may be a new member. */
    async #onRoster(room) {
        this.#showMembers();
        const { members } = await ask('members', { room });
        if (room !== this.#room) return;
        this.#members = members;
        this.#showMembers();
    }

    /* --- what is shown ------------------------------------------------------------------------------------------ */

    /* The buttons stay the same elements: one that is replaced between press and release loses the click. */
    #makeRooms() {
        at('rooms').replaceChildren(...rooms.map(room => {
            const button = document.createElement('button');
            button.dataset.room = room;
            button.onclick = () => this.#press(room);
            return button;
        }));
    }

    #press(room) {
        if (this.#joined.has(room) && room !== this.#room) this.#enter(room);
        else ask(this.#joined.has(room) ? 'leave' : 'join', { name: this.#name, room }).catch(error => this.#trouble(error));
    }

    #showRooms() {
        for (const button of at('rooms').children) {
            const { room } = button.dataset;
            const unread = this.#unread.get(room)?.size ?? 0;
            button.textContent = !this.#joined.has(room) ? `join ${room}`
                : room === this.#room ? `leave ${room}` : unread > 0 ? `${room} (${unread})` : room;
            button.setAttribute('aria-current', room === this.#room);
        }
    }

    #showMembers() {
        const online = new Set(this.#roster?.users);
        const names = [...new Set([...this.#members, ...online])].sort();
        at('members').replaceChildren(...names.map(name => {
            const row = document.createElement('li');
            row.textContent = name;
            row.dataset.online = online.has(name);
            row.title = online.has(name) ? 'online' : 'away';
            return row;
        }));
    }

    #show() {
        at('room').textContent = this.#room ?? 'You are in no room';
        at('write').hidden = this.#room === null;
        const rows = [...(this.#rows.get(this.#room) ?? [])].sort(([a], [b]) => a - b);
        at('list').replaceChildren(...rows.map(([seq, row]) => rowOf(seq, row)));
        at('list').scrollTop = at('list').scrollHeight;
    }

    async #send() {
        const text = at('text').value;
        at('text').value = '';
        try {
            await this.#client.publish(groupOf(this.#room), { text });
            at('trouble').textContent = '';
        } catch (error) {
            this.#trouble(error);
        }
    }

    #trouble({ message }) {
        at('trouble').textContent = `not done: ${message}`;
    }
}

/* `written` is what the server has handed to a device; `acknowledged` is what its page has shown. */
function seenOf(devices) {
    const names = state => [...new Set(devices.filter(device => state.includes(device.state)).map(({ user }) => user))].sort();
    const read = names(['acknowledged']);
    const arrived = names(['written']).filter(name => !read.includes(name));
    const all = names(['acknowledged', 'written', 'pending']);
    const words = [read.length > 0 && `read by ${read.join(', ')}`, arrived.length > 0 && `arrived at ${arrived.join(', ')}`];
    return { seen: words.filter(Boolean).join(' · ') || 'sent', isDone: all.length > 0 && read.length === all.length };
}

function rowOf(seq, { from, time, text, seen }) {
    const row = document.createElement('li');
    const [who, words, when, receipt] = ['b', 'span', 'time', 'span'].map(name => document.createElement(name));
    who.textContent = (from ?? '').replace(/^user:/, '');
    when.textContent = new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    words.className = 'text';
    words.textContent = text;
    receipt.className = 'seen';
    receipt.textContent = seen;
    row.append(who, words, when, receipt);
    row.dataset.seq = seq;
    return row;
}

function comeIn(name) {
    sessionStorage.setItem('name', name);
    new Chat(name).start().catch(error => { at('trouble').textContent = error.message; });
}

at('login').onsubmit = event => { event.preventDefault(); comeIn(at('name').value); };
if (sessionStorage.getItem('name')) comeIn(sessionStorage.getItem('name'));
