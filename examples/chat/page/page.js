/* page.js - one user. A membership message, which comes in the user's own log like any other, says that there is a room more or
 * less. Rows are kept by seq, so history and what is live may overlap. */
import { connect } from '/longwire/index.js';

const HISTORY = 50;
const at = id => document.getElementById(id);
const groupOf = room => `group:${room}`;

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
    #room = null;

    constructor(name) {
        this.#name = name;
        this.#client = connect(server, {
            token: () => this.#askToken(), keep: 'session', keepName: `chat of ${name}`,
        });
        this.#client.on('state', ({ name: state, why }) => {
            at('link').dataset.state = state;
            at('link').textContent = why ? `${state}: ${why}` : state;
        });
        this.#client.on('membership', ({ group, joined }) => this.#onMembership(group, joined));
        this.#client.subscribe(`user:${name}`, () => {});
        at('login').hidden = true;
        at('chat').hidden = false;
        at('who').textContent = name;
        at('write').onsubmit = event => { event.preventDefault(); this.#send(); };
    }

    async start() {
        const { groups } = await this.#get(`/v1/users/${encodeURIComponent(this.#name)}/groups`);
        for (const room of groups) this.#follow(room);
        if (groups.length === 0) await ask('join', { name: this.#name, room: rooms[0] });   // the membership message shows it
        else await this.#enter(groups[0]);
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

    #take({ channel, seq, from, time, data }) {
        const room = channel.slice('group:'.length);
        if (channel !== groupOf(room) || typeof data?.text !== 'string') return;
        if (!this.#rows.has(room)) this.#rows.set(room, new Map());
        this.#rows.get(room).set(seq, { from, time, text: data.text });
        if (room === this.#room) this.#show();
    }

    #follow(room) {
        this.#joined.add(room);
        if (!this.#client.subscription(groupOf(room))) this.#client.subscribe(groupOf(room), message => this.#take(message));
    }

    async #onMembership(group, joined) {
        if (joined) {
            this.#follow(group);
        } else {
            this.#joined.delete(group);
            this.#client.unsubscribe(groupOf(group));
        }
        if (joined && this.#room === null) await this.#enter(group);
        else if (!joined && group === this.#room) await this.#enter([...this.#joined][0] ?? null);
        else this.#showRooms();
    }

    async #enter(room) {
        this.#room = room;
        this.#showRooms();
        this.#show();
        if (room === null) return;
        const { messages } = await this.#get(`/v1/channels/${encodeURIComponent(groupOf(room))}/messages?before=9007199254740991&limit=${HISTORY}`);
        for (const message of messages) if (message.type === 'message') this.#take(message);
        const { members } = await ask('members', { room });
        at('members').textContent = `In this room: ${members.join(', ')}`;
    }

    #showRooms() {
        at('rooms').replaceChildren(...rooms.map(room => {
            const button = document.createElement('button');
            const isIn = this.#joined.has(room);
            button.textContent = isIn ? (room === this.#room ? `leave ${room}` : room) : `join ${room}`;
            button.dataset.room = room;
            button.setAttribute('aria-current', room === this.#room);
            button.onclick = () => isIn && room !== this.#room ? this.#enter(room) : ask(isIn ? 'leave' : 'join', { name: this.#name, room });
            return button;
        }));
    }

    #show() {
        at('room').textContent = this.#room ?? 'You are in no room';
        at('write').hidden = this.#room === null;
        const rows = [...(this.#rows.get(this.#room) ?? [])].sort(([a], [b]) => a - b);
        at('list').replaceChildren(...rows.map(([seq, { from, time, text }]) => rowOf(seq, from, time, text)));
        at('list').scrollTop = at('list').scrollHeight;
    }

    async #send() {
        const text = at('text').value;
        at('text').value = '';
        try {
            await this.#client.publish(groupOf(this.#room), { text });
            at('trouble').textContent = '';
        } catch (error) {
            at('trouble').textContent = `not sent: ${error.message}`;
        }
    }
}

function rowOf(seq, from, time, text) {
    const row = document.createElement('li');
    const [who, words, when] = ['b', 'span', 'time'].map(name => document.createElement(name));
    who.textContent = (from ?? '').replace(/^user:/, '');
    when.textContent = new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    words.className = 'text';
    words.textContent = text;
    row.append(who, words, when);
    row.dataset.seq = seq;
    return row;
}

function comeIn(name) {
    sessionStorage.setItem('name', name);
    new Chat(name).start().catch(error => { at('trouble').textContent = error.message; });
}

at('login').onsubmit = event => { event.preventDefault(); comeIn(at('name').value); };
if (sessionStorage.getItem('name')) comeIn(sessionStorage.getItem('name'));
