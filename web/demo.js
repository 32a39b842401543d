/* demo.js - the page at /: shows what a client of the JavaScript library (clients/js) gets, and counts, to show that no
 * message was lost.
 *
 * All text from the network is put on the page with textContent, so it stays text. */
import { Client } from './longwire/index.js';

/* The address of the API: where this file comes from. Behind a proxy it may have a path. */
const HERE = new URL('.', import.meta.url).href.replace(/\/$/, '');

const ROWS_MAX = 500;            // older rows leave the page, not the counters
const PAYLOAD_SHOWN_MAX = 4000;
const AWAY_MS = 8000;
const BURST = 5;
const PUBLISH_MS = 8000;
const TRANSPORT_NAMES = { websocket: 'WebSocket', sse: 'server-sent events', poll: 'long poll' };
const NOT_YET = { name: 'stopped', title: 'Ready', why: 'not connected yet' };
const STARTS = { now: {}, last: { last: 10 }, first: { after: 0 } };
const ANNOUNCE_MS = 3000;

const at = id => document.getElementById(id);
const chosen = name => document.querySelector(`input[name=${name}]:checked`).value;

/* --- the counters: seqs are dense, so every doubled, lost or swapped message would show ---------------------------- */

class Ledger {
    #next = new Map();   // channel → the seq that has to come next

    constructor() {
        this.counts = { received: 0, 'caught-up': 0, duplicates: 0, disorder: 0, gaps: 0 };
    }

    enter(entry) {
        if (entry.type === 'gap') {
            this.counts.gaps++;
            this.#next.set(entry.channel, entry.why === 'ahead' ? entry.from : entry.to + 1);
            return;
        }
        this.counts.received++;
        const due = this.#next.get(entry.channel) ?? entry.seq;
        if (entry.seq < due) this.counts.duplicates++;
        if (entry.seq > due) this.counts.disorder++;
        this.#next.set(entry.channel, Math.max(due, entry.seq + 1));
    }
}

/* --- the rows --------------------------------------------------------------------------------------------------- */

const GAP_WORDS = {
    expired: 'the time to live is over',
    trimmed: 'the log keeps only newer ones',
    corrupt: 'the disk gave it back broken',
};

function gapWords({ from, to, why }) {
    if (why === 'epoch') return 'The log began anew: what was read before belongs to its earlier life.';
    if (why === 'ahead') return `This page had read up to ${to}, but the log ends at ${from - 1}; on from there.`;
    const what = from === to ? `Message ${from} is` : `Messages ${from} to ${to} are`;
    return `${what} missing: ${GAP_WORDS[why] ?? why}.`;
}

function payloadText(message) {
    if (message.recalled) return 'recalled';
    if (message.data instanceof Uint8Array) return Array.from(message.data, byte => byte.toString(16).padStart(2, '0')).join(' ');
    const isText = typeof message.data === 'string' && !isJson(message.media);
    const text = isText ? message.data : JSON.stringify(message.data);
    const more = text.length - PAYLOAD_SHOWN_MAX;
    return more > 0 ? `${text.slice(0, PAYLOAD_SHOWN_MAX)}… and ${more} more characters` : text;
}

function isJson(media) {
    return /^application\/(json|[^;]+\+json)/i.test(media ?? '');
}

function timeText(ms) {
    return new Date(ms).toLocaleTimeString([], {
        hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
    });
}

const rowKey = (channel, seq) => JSON.stringify([channel, seq]);

class Rows {
    #byKey = new Map();

    constructor(list, onRecall) {
        this.list = list;
        this.onRecall = onRecall;
    }

    add(entry) {
        const row = entry.type === 'message' ? this.#message(entry) : this.#note(entry);
        row.dataset.channel = entry.channel;
        row.dataset.seq = entry.seq ?? '';
        row.dataset.type = entry.type;
        this.list.prepend(row);
        while (this.list.children.length > ROWS_MAX) this.#forget(this.list.lastElementChild);
        return row;
    }

    clear() {
        this.list.replaceChildren();
        this.#byKey.clear();
    }

    #message(message) {
        const row = at('row').content.firstElementChild.cloneNode(true);
        const put = (selector, text) => { row.querySelector(selector).textContent = text; };
        put('.seq', message.seq);
        put('.payload', payloadText(message));
        put('.channel', message.channel);
        put('time', timeText(message.time));
        put('.from', message.from ? `from ${message.from}` : '');
        put('.media', message.media === 'text/plain' ? '' : message.media ?? '');
        row.querySelector('time').dateTime = new Date(message.time).toISOString();
        row.querySelector('time').title = `id ${message.id}`;
        const button = row.querySelector('.recall');
        button.setAttribute('aria-label', `Recall message ${message.seq} of ${message.channel}`);
        button.onclick = () => this.onRecall(message);
        this.#byKey.set(rowKey(message.channel, message.seq), row);
        if (message.recalled) strike(row);
        return row;
    }

    #note(entry) {
        const row = at('note').content.firstElementChild.cloneNode(true);
        row.classList.add(entry.type);
        row.querySelector('.seq').textContent = entry.seq ?? '–';
        row.querySelector('.channel').textContent = `${entry.channel}: `;
        row.querySelector('.words').textContent =
            entry.type === 'gap' ? gapWords(entry) : `Message ${entry.target} was recalled.`;
        if (entry.type === 'recall') strike(this.#byKey.get(rowKey(entry.channel, entry.target)));
        return row;
    }

    #forget(row) {
        this.#byKey.delete(rowKey(row.dataset.channel, Number(row.dataset.seq)));
        row.remove();
    }
}

/* A message that came as recalled is struck through already when its recall comes; a message that is no longer shown has
 * no row. */
function strike(row) {
    if (!row || row.classList.contains('recalled')) return;
    row.classList.add('recalled');
    row.querySelector('.recall').remove();
    const tag = row.querySelector('.tag');
    tag.textContent = 'recalled';
    tag.hidden = false;
}

/* --- the page --------------------------------------------------------------------------------------------------- */

class Page {
    #client = null;
    #channels = [];
    #ledger = new Ledger();
    #rows = new Rows(at('rows'), message => this.#recall(message));
    #heads = new Map();     // the head of each channel when the link came back: messages up to it are caught up
    #wasAway = false;
    #unannounced = 0;

    constructor() {
        at('connection').onsubmit = event => { event.preventDefault(); this.#connectOrStop(); };
        at('publishing').onsubmit = event => { event.preventDefault(); this.#publish(1); };
        at('publish-five').onclick = () => this.#publish(BURST);
        at('payload').onkeydown = event => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) at('publishing').requestSubmit();
        };
        at('transport').onchange = () => this.#client?.isOpen && this.#client.useTransports([chosen('transport')]);
        at('drop').onclick = () => { this.#client.reconnect(AWAY_MS, 'the link was dropped'); at('retry').focus(); };
        at('retry').onclick = () => this.#client.reconnect();
        at('clear').onclick = () => this.#clear();
        at('channels').onchange = () => { at('publish-channel').value = requestedChannels()[0] ?? ''; };
        document.addEventListener('input', showCommands);
        at('curl-box').ontoggle = showCommands;
        setInterval(() => this.#showCountdown(), 250);
        setInterval(() => this.#announceMessages(), ANNOUNCE_MS);
        at('drop-seconds').textContent = AWAY_MS / 1000;
        this.#showState(NOT_YET);
        this.#showCounts();
    }

    get #state() {
        const state = this.#client?.state ?? NOT_YET;
        return state.name === 'closed' ? { ...state, name: 'stopped' } : state;
    }

    #connectOrStop() {
        if (this.#state.name !== 'stopped') {
            this.#client.close('you disconnected');
            return;
        }
        this.#clear();
        this.#ledger = new Ledger();
        this.#wasAway = false;
        this.#heads.clear();
        this.#channels = requestedChannels();
        this.#client = clientOf([chosen('transport')]);
        this.#client.on('state', () => this.#onState());
        this.#client.on('error', ({ error }) => console.info(error.message));   // the state says it too
        for (const channel of this.#channels) this.#follow(channel);
        this.#client.open();
        at('following').textContent =
            `${this.#channels.join(', ')} – ${at('start').selectedOptions[0].textContent.toLowerCase()}`;
        at('rows').classList.toggle('of-one', this.#channels.length === 1);
        this.#showCounts();
    }

    #follow(channel) {
        const client = this.#client;
        const onEntry = entry => this.#onEntry(entry);
        const subscription = client.subscribe(channel, onEntry, {
            onGap: onEntry, onRecall: onEntry, ...STARTS[at('start').value],
        });
        subscription.ready.catch(error => client.isOpen && client.close(error.message));
    }

    #onState() {
        const state = this.#state;
        if (state.name === 'away') {
            this.#wasAway = true;
            at('pulse').getAnimations().forEach(animation => animation.cancel());
            at('rows').querySelectorAll('.since-back').forEach(row => row.classList.remove('since-back'));
        }
        if (state.name === 'connecting' && this.#wasAway) this.#askHeads();
        this.#showState(state);
    }

    /* Messages that were published while the link was cut end at the head that the channel has when the link comes back. */
    async #askHeads() {
        await Promise.all(this.#channels.map(async channel => {
            const head = await headOf(channel).catch(() => 0);   // without an answer there are no marks, which is no fault
            this.#heads.set(channel, Math.max(head, this.#heads.get(channel) ?? 0));
            for (const row of at('rows').querySelectorAll('.since-back')) this.#markCaughtUp(row);
        }));
    }

    #markCaughtUp(row) {
        if (row.dataset.seq === '' || Number(row.dataset.seq) > (this.#heads.get(row.dataset.channel) ?? 0)) return;
        row.classList.replace('since-back', 'caught-up');
        this.#ledger.counts['caught-up']++;
        const tag = row.querySelector('.tag');
        if (tag?.hidden) {
            tag.textContent = 'caught up';
            tag.hidden = false;
        }
        this.#showCounts();
    }

    #onEntry(entry) {
        this.#ledger.enter(entry);
        const row = this.#rows.add(entry);
        if (this.#wasAway) {
            row.classList.add('since-back');
            this.#markCaughtUp(row);
        }
        this.#unannounced++;
        at('empty').hidden = true;
        pulse();
        this.#showCounts();
    }

    #showCounts() {
        for (const [name, count] of Object.entries(this.#ledger.counts)) {
            at(`count-${name}`).textContent = count.toLocaleString();
            at(`count-${name}`).dataset.isZero = count === 0;
        }
    }

    #showState(state) {
        const NAMES = { connecting: 'Connecting', live: 'Live', away: 'Away', stopped: 'Stopped' };
        const title = state.title ?? NAMES[state.name];
        const isOn = state.name !== 'stopped';
        const hadFocus = document.activeElement;
        at('wire').dataset.state = state.name;
        at('state').textContent = title;
        at('announce-state').textContent = `${title}. ${state.why}`;
        at('connect').textContent = isOn ? 'Disconnect' : 'Connect';
        at('connect').classList.toggle('primary', !isOn);
        at('request').hidden = at('key').disabled = isOn;
        at('following').hidden = !isOn;
        at('drop').hidden = state.name !== 'live';
        at('retry').hidden = state.name !== 'away';
        // When a button is hidden, the keyboard focus moves to another element.
        if (hadFocus?.hidden) at('connect').focus({ preventScroll: true });
        if (/API key/i.test(state.why)) at('key-box').open = true;
        this.#showCountdown();
    }

    #showCountdown() {
        const { name, why, until, transport } = this.#state;
        const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
        const MORE = {
            connecting: 'to the server …',
            live: `over ${TRANSPORT_NAMES[transport]}`,
            away: `reconnecting in ${seconds} s – ${why}`,
            stopped: why,
        };
        if (at('state-more').textContent !== MORE[name]) at('state-more').textContent = MORE[name];
    }

    /* A screen reader announces the number of messages from time to time, not each message. */
    #announceMessages() {
        if (this.#unannounced === 0) return;
        at('announce-messages').textContent = `new entries: ${this.#unannounced}`;
        this.#unannounced = 0;
    }

    async #publish(count) {
        const channel = at('publish-channel').value.trim();
        if (!at('publishing').reportValidity()) return;
        const text = at('payload').value;
        const isText = chosen('media') === 'text/plain';
        const client = clientOf(['poll']);   // not opened: it publishes by requests
        const began = performance.now();
        try {
            let receipt;
            for (let i = 1; i <= count; i++) {   // one after the other: each is accepted before the next
                const data = !isText ? JSON.parse(text) : count > 1 ? `${text} (${i} of ${count})` : text;
                receipt = await client.publish(channel, data, { media: chosen('media'), timeoutMs: PUBLISH_MS });
            }
            this.#showReceipt(receipt, count, performance.now() - began);
        } catch (error) {
            showFailure(error);
        }
    }

    #showReceipt({ channel, seq, id }, count, ms) {
        const duration = `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
        const words = count === 1 ? `Accepted as seq ${seq}` : `Accepted as seq ${seq - count + 1} to ${seq}`;
        at('receipt').dataset.state = 'fine';
        at('receipt').textContent = `${words} of ${channel} · id ${id} · ${duration}`;
    }

    async #recall({ channel, seq }) {
        try {
            await ask('DELETE', `${messagesUrl(channel)}/${seq}`);
            at('receipt').dataset.state = 'fine';
            at('receipt').textContent = `Message ${seq} of ${channel} is recalled.`;
        } catch (error) {
            showFailure(error);
        }
    }

    #clear() {
        this.#rows.clear();
        at('empty').hidden = false;
    }
}

function clientOf(transports) {
    return new Client(HERE, { transports, token: at('key').value || undefined });
}

const messagesUrl = channel => `${HERE}/v1/channels/${encodeURIComponent(channel)}/messages`;

/* What is a back end's business, and not in the library. */
async function ask(method, url) {
    const key = at('key').value;
    const answer = await fetch(url, { method, headers: key ? { Authorization: `Bearer ${key}` } : {} });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail ?? body.title);
    return body;
}

/* The last seq of a channel; 0 if nothing was ever published there. Before the first message there is nothing, so no
 * payload comes along. */
async function headOf(channel) {
    return (await ask('GET', `${messagesUrl(channel)}?before=1`)).head;
}

function requestedChannels() {
    return [...new Set(at('channels').value.split(/\s+/).filter(Boolean))];
}

function showFailure(error) {
    at('receipt').dataset.state = 'refused';
    at('receipt').textContent = `Not done: ${error.message}`;
}

/* A message travels along the line, from the server to us. */
function pulse() {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches || at('pulse').getAnimations().length > 0) return;
    at('pulse').animate([{ left: '100%', opacity: 1 }, { left: '0%', opacity: 1 }],
        { duration: 450, easing: 'ease-in-out' });
}

/* --- the same with curl ----------------------------------------------------------------------------------------- */

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

function commandLines() {
    const [server, key] = [HERE, at('key').value ? `-H "Authorization: Bearer $LONGWIRE_KEY" ` : ''];
    const channel = at('publish-channel').value.trim();
    const query = new URLSearchParams();
    for (const name of requestedChannels()) {
        query.append('channel', name);
        for (const [how, value] of Object.entries(STARTS[at('start').value])) query.append(how, value);
    }
    const subscribe = quoted(`${server}/v1/subscribe?${query}`);
    return {
        'Publish': `curl ${key}-H 'Content-Type: ${chosen('media')}' \\\n` +
            `  --data-binary ${quoted(at('payload').value)} ${quoted(messagesUrl(channel))}`,
        'Follow, as server-sent events': `curl ${key}-N -H 'Accept: text/event-stream' \\\n  ${subscribe}`,
        'Follow, one long poll; go on with the cursor it returns': `curl ${key}${subscribe}`,
        'What the channel holds': `curl ${key}${quoted(messagesUrl(channel))}`,
        'Follow on a WebSocket': `longwire sub --server ${server} ${requestedChannels().map(quoted).join(' ')}`,
    };
}

function showCommands() {
    if (!at('curl-box').open) return;
    at('commands').replaceChildren(...Object.entries(commandLines()).map(([title, line]) => {
        const figure = at('command').content.firstElementChild.cloneNode(true);
        const button = figure.querySelector('button');
        figure.querySelector('figcaption').textContent = title;
        figure.querySelector('code').textContent = line;
        button.setAttribute('aria-label', `Copy: ${title}`);
        button.onclick = async () => {
            await navigator.clipboard.writeText(line);
            button.textContent = 'Copied';
        };
        return figure;
    }));
}

new Page();
