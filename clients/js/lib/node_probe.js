/* node_probe.js - whether a server answers, for Node.js. Its fetch loads an HTTP parser with the first connection of a process, does not
 * see that the connection ends meanwhile, and then waits until its time is up. node:http sees it. Loaded only where it is needed. */
import http from 'node:http';
import https from 'node:https';

/* true: the server answered `url` within `ms`, whatever it said. */
export function isAnswered(url, ms) {
    return new Promise(resolve => {
        const request = (url.startsWith('https:') ? https : http).get(url, { agent: false, signal: AbortSignal.timeout(ms) }, answer => {
            resolve(true);
            answer.destroy();
        });
        request.on('error', () => resolve(false));
    });
}
