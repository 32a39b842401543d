/* request_cuts.js - for test/system/uplink_client_cuts.py: many clients ask a back end over links that are cut, and say what came.
 *
 * usage: node request_cuts.js '{"url":…, "links":200, "requests":50, "atOnce":4}'
 *
 * Prints one JSON object at the end: how many responses came with the body that was sent, what else came, and what came twice. */
import { connect } from '../index.js';

const { url, links, requests, atOnce } = JSON.parse(process.argv[2]);
const told = { answered: 0, replayed: 0, wrong: [], refused: [], unasked: 0, connects: 0 };

async function askAll(client, user) {
    for (let number = 0; number < requests; number++) {
        const body = `${user} ${number}`;
        try {
            const response = await client.fetch(`/echo/${user}/${number}`, { method: 'POST', body });
            if (response.status === 200 && await response.text() === body) told.answered++;
            else told.wrong.push(`${body}: ${response.status}`);
            if (response.replayed) told.replayed++;
        } catch (error) {
            told.refused.push(`${body}: ${error.code} ${error.message}`);
        }
    }
}

await Promise.all(Array.from({ length: links }, async (_, at) => {
    const client = connect(url, { user: `u${at}`, device: 'phone', session: at % 2 === 0, transports: ['websocket'], encodings: [at % 4 < 2 ? 'binary' : 'json'] });
    client.on('response', () => { told.unasked++; });
    client.on('connected', () => { told.connects++; });
    client.on('error', ({ error }) => told.wrong.push(`u${at}: ${error.message}`));
    await Promise.all(Array.from({ length: atOnce }, (_, lane) => askAll(client, `u${at}-${lane}`)));
    await client.close();
}));
process.stdout.write(`${JSON.stringify(told)}\n`);
