/* follow.js - a program for test/system/client_driver.py: follows channels and publishes as it is told, and says what came.
 *
 * usage: node follow.js '{"url":…, "options":{…}, "channels":{"topic:a":{…}}}'
 *
 * Reads commands from standard input, writes events to standard output, one JSON object a line. handlerMs: how long the
 * handler takes for each message. storeFile: keeps places in that file. tokens: { secret, user, seconds }: makes a JWT whenever
 * the client asks for one. */
import { createHmac } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../index.js';

const { url, options = {}, channels = {}, handlerMs, storeFile, tokens } = JSON.parse(process.argv[2]);
const say = what => process.stdout.write(`${JSON.stringify(what)}\n`);

const store = {
    get: () => { try { return readFileSync(storeFile, 'utf8'); } catch { return null; } },
    /* Into a new file, which then takes the old one's name: who reads meanwhile, or is killed, meets one of them whole. */
    set: (name, text) => { writeFileSync(`${storeFile}.new`, text); renameSync(`${storeFile}.new`, storeFile); },
};

function makeToken({ why }) {
    say({ event: 'token asked', why });
    const now = Math.floor(Date.now() / 1000);
    const said = [{ alg: 'HS256' }, { sub: tokens.user, iat: now, exp: now + tokens.seconds }]
        .map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    return `${said}.${createHmac('sha256', tokens.secret).update(said).digest('base64url')}`;
}

const client = connect(url, { ...options, ...(tokens && { token: makeToken }), ...(storeFile && { keep: store }), onMessage: message => say({ event: 'message', ...message }) });
client.on('state', state => say({ event: 'state', ...state, fallBacks: client.fallBacks }));
client.on('error', ({ error, channel }) => say({ event: 'error', code: error.code, reason: error.message, channel }));
for (const name of ['membership', 'read', 'notify', 'join', 'leave', 'presence', 'connected', 'replaced', 'expiring'])
    client.on(name, detail => say({ event: name, ...detail }));

function subscribe(channel, how) {
    const subscription = client.subscribe(channel, async (message, { waiting }) => {
        if (handlerMs !== undefined) await sleep(handlerMs);
        say({ event: 'message', waiting, ...message });
    }, {
        ...how,
        onGap: gap => say({ event: 'gap', ...gap }), onRecall: entry => say({ event: 'recall', ...entry }),
        onNotify: () => {}, onPresence: () => {},
        ...(how.state && { state: ({ why }) => { say({ event: 'state asked', why }); return how.state; } }),
    });
    subscription.ready.then(() => say({ event: 'ready', channel }), error => say({ event: 'refused', channel, code: error.code }));
}

const aborts = new Map();

async function ask(path, { id, ...init }) {
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
        const response = await client.fetch(path, { id, signal: abort.signal, ...init });
        say({ event: 'response', id: response.id, status: response.status, code: 0, replayed: response.replayed, body: await response.text(),
            media: response.headers.get('content-type') ?? '', reason: '' });
    } catch (error) {
        say({ event: 'response', id: error.id ?? id, status: 0, code: error.name === 'AbortError' ? 499 : error.code, replayed: false, body: '', media: '', reason: error.message });
    }
}

const COMMANDS = {
    publish: ({ channel, data, ...more }) => client.publish(channel, data, more).then(
        receipt => say({ event: 'published', data, ...receipt }),
        error => say({ event: 'not published', data, code: error.code, reason: error.message })),
    subscribe: ({ channel, ...how }) => subscribe(channel, how),
    request: ({ path, method, body, id, timeoutMs }) => ask(path, { id, ...(method && { method }), ...(body && { body, method: method ?? 'POST' }), ...(timeoutMs && { timeoutMs }) }),
    cancel: ({ id }) => aborts.get(id)?.abort(),
    unsubscribe: ({ channel }) => client.unsubscribe(channel),
    ack: ({ channel, seq }) => client.subscription(channel).ack(seq),
    read: ({ channel, seq }) => client.read(channel, seq).then(mark => say({ event: 'marked', ...mark })),
    receipts: ({ channel, seq }) => client.receipts(channel, seq).then(told => say({ event: 'receipts', ...told })),
    presence: ({ channel }) => client.presence(channel).then(told => say({ event: 'subscribers', ...told })),
    roster: ({ channel }) => client.roster(channel, ({ users }) => say({ event: 'roster', channel, users })),
    pull: ({ channel }) => client.subscription(channel).pull().then(() => say({ event: 'pulled', channel })),
    transports: ({ names }) => client.useTransports(names),
    token: ({ token }) => client.setToken(token),
    close: () => client.close(),
};

for (const [channel, how] of Object.entries(channels)) subscribe(channel, how);
const lines = createInterface({ input: process.stdin });
lines.on('line', line => { const { command, ...more } = JSON.parse(line); COMMANDS[command](more); });
lines.on('close', () => client.close());
