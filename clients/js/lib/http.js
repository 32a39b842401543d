/* http.js - requests to the server, and what its answers say. */
import { LongwireError } from './errors.js';

/* The fetch of Node.js 18 forgets its AbortSignal when garbage is collected (node_fetch.js); that of undici 6 does not. Debian's Node.js
 * does not say which undici it has. */
const platformFetch = globalThis.fetch;
const { undici, node } = globalThis.process?.versions ?? {};
const forgetsSignals = undici ? Number.parseInt(undici, 10) < 6 : Number.parseInt(node, 10) < 20;

/* fetch() of the platform, or whatever the application has put in its place. */
export async function soundFetch(...args) {
    if (forgetsSignals && globalThis.fetch === platformFetch) return (await import('./node_fetch.js')).nodeFetch(...args);
    return globalThis.fetch(...args);
}

/* Aborted when one of them is. AbortSignal.any() is younger than the browsers of today. */
function anyOf(...signals) {
    const ending = new AbortController();
    for (const signal of signals) {
        if (signal.aborted) ending.abort(signal.reason);
        signal.addEventListener('abort', () => ending.abort(signal.reason), { once: true });
    }
    return ending.signal;
}

/* A request that gets no answer on a network that has gone silent must end: what waits behind it would wait for ever. */
export async function fetchWithin(fetch, ms, url, init) {
    const late = AbortSignal.timeout(ms);
    try {
        return await fetch(url, { ...init, signal: init?.signal ? anyOf(init.signal, late) : late });
    } catch (error) {
        throw error?.name === 'TimeoutError' ? new LongwireError(0, 'the server did not answer in time') : error;
    }
}

/* The address of the server without a slash at the end; ws: and wss: are taken for http: and https:. */
export function httpUrl(url) {
    const whole = new URL(url, globalThis.location?.href);
    return whole.href.replace(/^ws/, 'http').replace(/[?#].*$/, '').replace(/\/+$/, '');
}

export const webSocketUrl = url => url.replace(/^http/, 'ws');
export const messagesUrl = (url, channel) => `${url}/v1/channels/${encodeURIComponent(channel)}/messages`;

export function authorization(token) {
    return token ? { Authorization: `Bearer ${token}` } : {};
}

/* Errors are problem+json (RFC 9457): `detail` is for people. */
export async function failureOf(answer) {
    const problem = await answer.json().catch(() => ({}));
    const reason = problem.detail ?? problem.title ?? `the server answered ${answer.status}`;
    return new LongwireError(answer.status, reason, { leastMs: (Number(answer.headers.get('Retry-After')) || 0) * 1000 });
}

export function bytesOfBase64(text) {
    return Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
}

/* Whom a JWT names, unchecked; undefined: it is none, or names nobody. */
export function subjectOf(token) {
    try {
        const claims = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
        return JSON.parse(new TextDecoder().decode(bytesOfBase64(claims))).sub;
    } catch {
        return undefined;
    }
}

/* A payload that is not text is handed over as bytes. */
export function withBytes({ data_base64: base64, ...entry }) {
    return base64 === undefined ? entry : { ...entry, data: bytesOfBase64(base64) };
}

const SLICE = 8192;   // String.fromCharCode takes a limited number of arguments

export function base64OfBytes(bytes) {
    let letters = '';
    for (let at = 0; at < bytes.length; at += SLICE) letters += String.fromCharCode(...bytes.subarray(at, at + SLICE));
    return btoa(letters);
}
