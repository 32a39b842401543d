/* back_end.js - an ordinary HTTP server, with nothing of Longwire in it. What it has to know is in docs/uplink.md:
 *
 *   - a request comes once, or at least once with the same Idempotency-Key: its answer is kept under that key;
 *   - who asks is in Longwire-User and Longwire-Device, percent-encoded; no client can forge them;
 *   - uploads come as lines of JSON, in order a channel, some perhaps twice: a seq that was seen is skipped;
 *   - events are signed. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const SIGNED_FOR_S = 300;
const ANSWERS_MAX = 10000;

export function startBackEnd({ port, secret, publish }) {
    const orders = [], answers = new Map(), positions = new Map(), events = new Map();

    const routes = {
        'GET /orders': user => [200, orders.filter(order => order.user === user)],

        'POST /orders': (user, { what }) => {
            const order = { id: orders.length + 1, user, what, state: 'taken' };
            orders.push(order);
            publish(`topic:order-${order.id}`, order);
            return [201, order, { 'Longwire-Subscribe': `topic:order-${order.id}` }];   // whoever asked follows it from now on
        },

        'POST /positions': (user, lines) => {
            for (const { type, channel, seq, data } of lines)
                if (type === 'message' && seq > (positions.get(channel)?.seq ?? 0)) positions.set(channel, { seq, ...data });
            return [204];
        },

        'POST /events': (user, list) => {
            for (const event of list) events.set(event.id, event);   // by its id: one may come twice
            return [204];
        },

        'GET /seen': () => [200, { orders, positions: Object.fromEntries(positions), events: [...events.values()] }],   // for the page
    };

    /* The same key: the same answer, and nothing is done again. */
    function answerOnce(key, make) {
        if (key === undefined) return make();
        if (!answers.has(key)) answers.set(key, make());
        if (answers.size > ANSWERS_MAX) answers.delete(answers.keys().next().value);   // the oldest
        return answers.get(key);
    }

    function answer(request, body) {
        const route = routes[`${request.method} ${new URL(request.url, 'http://x').pathname}`];
        if (!route) return [404, { error: 'no such path' }];
        if (request.url === '/events' && !isSigned(secret, request.headers['longwire-signature'], body)) return [403, { error: 'bad signature' }];
        const user = decodeURIComponent(request.headers['longwire-user'] ?? '');
        return answerOnce(request.headers['idempotency-key'], () => route(user, read(request, body)));
    }

    const server = createServer(async (request, response) => {
        const pieces = [];
        for await (const piece of request) pieces.push(piece);
        let what;
        try {
            what = answer(request, Buffer.concat(pieces));
        } catch (error) {
            what = [400, { error: error.message }];
        }
        const [status, json, headers] = what;
        response.writeHead(status, { ...(json ? { 'Content-Type': 'application/json' } : {}), ...headers });
        response.end(json ? JSON.stringify(json) : undefined);
    });
    return new Promise(resolve => { server.listen(port, '127.0.0.1', resolve); });
}

function read(request, body) {
    const text = body.toString();
    if (request.headers['content-type'] === 'application/x-ndjson') return text.split('\n').filter(Boolean).map(line => JSON.parse(line));
    return text ? JSON.parse(text) : {};
}

/* Longwire-Signature: t=UNIX,v1=HEX. The time is signed as well, so that an old call can't be sent again. */
export function isSigned(secret, header, body, now = Date.now() / 1000) {
    const { t, v1 } = Object.fromEntries((header ?? '').split(',').map(part => part.split('=')));
    const want = createHmac('sha256', secret).update(`${t}.`).update(body).digest();
    const got = Buffer.from(v1 ?? '', 'hex');
    return got.length === want.length && timingSafeEqual(got, want) && Math.abs(now - Number(t)) <= SIGNED_FOR_S;
}
