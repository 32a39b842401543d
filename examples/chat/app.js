/* app.js - the application's server: says who somebody is, and who is in which room. It sees no message.
 *
 * A room is a group: a message is published and stored once, whatever the number of members. Who is a member may read and write
 * there, and see who is online: so tokens say a name and nothing else. */
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { serve } from '../lib/serve.js';

const CONFIG = readFileSync(new URL('./longwired.conf', import.meta.url), 'utf8');
const secretOf = section => new RegExp(`\\[${section}\\]\\nsecret = (.*)`).exec(CONFIG)[1];
const TOKEN_S = Number(process.env.TOKEN_S ?? 600);
const ROOMS = ['lobby', 'kitchen', 'garden'];
const NAME = /^[\p{L}\p{N}_-]{1,24}$/u;

const base64url = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/* RFC 7519, with the algorithm that the server pins to this key. */
function tokenOf(user) {
    const now = Math.floor(Date.now() / 1000);
    const said = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ sub: user, iat: now, exp: now + TOKEN_S })}`;
    return `${said}.${createHmac('sha256', secretOf('jwt chat')).update(said).digest('base64url')}`;
}

function check(value, isFine, what) {
    if (!isFine) throw Object.assign(new Error(`${JSON.stringify(value)} is no ${what}`), { status: 400 });
    return value;
}

export async function start({ server, port }) {
    async function ask(method, path) {
        const answer = await fetch(server + path, { method, headers: { Authorization: `Bearer ${secretOf('key app')}` } });
        if (!answer.ok) throw new Error((await answer.json()).detail);
        return answer.json();
    }

    const nameOf = name => check(name, NAME.test(name), 'name: up to 24 letters and digits');
    const roomOf = room => check(room, ROOMS.includes(room), 'room');
    const member = (method, { name, room }) => ask(method, `/v1/groups/${roomOf(room)}/members/${encodeURIComponent(nameOf(name))}`);

    await serve({
        port, page: fileURLToPath(new URL('./page/', import.meta.url)),
        calls: {
            'GET /server': () => ({ server, rooms: ROOMS }),
            // A real application asks for a password here.
            'POST /token': ({ name }) => ({ token: tokenOf(nameOf(name)) }),
            'POST /join': body => member('PUT', body),
            'POST /leave': body => member('DELETE', body),
            'POST /members': ({ room }) => ask('GET', `/v1/groups/${roomOf(room)}/members?limit=100`),
        },
    });
}
