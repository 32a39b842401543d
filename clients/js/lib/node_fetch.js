/* node_fetch.js - fetch() by node:http, for Node.js 18. Its own one forgets its AbortSignal when garbage is collected: a request that the network
 * has swallowed, or a stream that is closed, would then never end. Loaded only where it is needed.
 *
 * It does what this library asks of fetch(): redirects are not followed, and there are no cookies and no cache. */
import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';

const WITHOUT_BODY = [204, 205, 304];
const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) };

function answerOf(message) {
    const fields = [];
    for (let at = 0; at < message.rawHeaders.length; at += 2) fields.push([message.rawHeaders[at], message.rawHeaders[at + 1]]);
    const isEmpty = WITHOUT_BODY.includes(message.statusCode);
    if (isEmpty) message.resume();
    return new Response(isEmpty ? null : Readable.toWeb(message), { status: message.statusCode, statusText: message.statusMessage, headers: fields });
}

/* Rejects with the signal's reason, or with a TypeError where the network fails, as fetch() does. */
export async function nodeFetch(input, { method = 'GET', headers, body = null, signal = null } = {}) {
    const url = new URL(input);
    const bytes = body === null ? null : Buffer.from(await new Response(body).arrayBuffer());
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
        const request = (url.protocol === 'https:' ? https : http).request(url, {
            method, headers: Object.fromEntries(new Headers(headers)), agent: agents[url.protocol],
        });
        const onAbort = () => request.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
        signal?.addEventListener('abort', onAbort, { once: true });
        request.on('close', () => signal?.removeEventListener('abort', onAbort));
        request.on('error', error => reject(signal?.aborted ? signal.reason : new TypeError(error.message, { cause: error })));
        request.on('response', message => {
            message.on('error', () => {});     // whoever reads the body is told
            try {
                resolve(answerOf(message));
            } catch (error) {                  // a status that no Response can have
                request.destroy();
                reject(new TypeError(error.message, { cause: error }));
            }
        });
        request.end(bytes ?? undefined);
    });
}
