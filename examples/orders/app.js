/* app.js - the page of the example, and the back end behind the server, in one process. */
import { fileURLToPath } from 'node:url';
import { Client } from '../../clients/js/index.js';
import { serve } from '../lib/serve.js';
import { startBackEnd } from './back_end.js';

const SECRET = 'secret-of-the-orders-example';

export async function start({ server, port }) {
    const client = new Client(server);   // not opened: it only publishes
    const backEnd = port + 2;

    await startBackEnd({
        port: backEnd, secret: SECRET,
        publish: (channel, data) => client.publish(channel, data).catch(error => console.error(`${channel}: ${error.message}`)),
    });
    await serve({
        port, page: fileURLToPath(new URL('./page/', import.meta.url)),
        calls: {
            'GET /server': () => ({ server }),
            'GET /seen': async () => (await fetch(`http://127.0.0.1:${backEnd}/seen`)).json(),
        },
    });
}
