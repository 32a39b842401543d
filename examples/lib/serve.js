/* serve.js - the web server of an example: the files of its page, the client library, and calls that take and give JSON. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { extname, normalize, sep } from 'node:path';

const LIBRARY = fileURLToPath(new URL('../../clients/js/', import.meta.url));
const SHARED = fileURLToPath(new URL('./page/', import.meta.url));
const MEDIA = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
const BODY_BYTES_MAX = 65536;

/* page: the folder of the files. calls: { 'POST /ask': body => answer }. Resolves when it listens. */
export function serve({ port, page, calls }) {
    const server = createServer((request, response) => {
        answer(request, page, calls).catch(error => [error.status ?? 500, 'application/json', JSON.stringify({ error: error.message })])
            .then(([status, media, body]) => response.writeHead(status, { 'Content-Type': media, 'Cache-Control': 'no-store' }).end(body));
    });
    return new Promise(resolve => { server.listen(port, '127.0.0.1', resolve); });
}

async function answer(request, page, calls) {
    const { pathname } = new URL(request.url, 'http://x');
    const call = calls[`${request.method} ${pathname}`];
    if (call) return [200, 'application/json', JSON.stringify(await call(await bodyOf(request), request) ?? {})];
    const [folder, path] = pathname.startsWith('/longwire/') ? [LIBRARY, pathname.slice('/longwire/'.length)]
        : pathname.startsWith('/shared/') ? [SHARED, pathname.slice('/shared/'.length)] : [page, pathname === '/' ? 'index.html' : pathname.slice(1)];
    const media = MEDIA[extname(path)];
    if (!media || normalize(path).startsWith(`..${sep}`)) throw Object.assign(new Error('no such file'), { status: 404 });
    const bytes = await readFile(folder + normalize(path)).catch(() => { throw Object.assign(new Error('no such file'), { status: 404 }); });
    return [200, media, bytes];
}

async function bodyOf(request) {
    let text = '';
    for await (const piece of request) {
        text += piece;
        if (text.length > BODY_BYTES_MAX) throw Object.assign(new Error('the body is too long'), { status: 413 });
    }
    try {
        return text ? JSON.parse(text) : {};
    } catch {
        throw Object.assign(new Error('the body is not JSON'), { status: 400 });
    }
}
