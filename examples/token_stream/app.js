/* app.js - the application's server: takes a question, and publishes the answer word by word, as a language model gives it.
 *
 * An answer is a channel. Who follows it from the first message on gets all of it, however late, and however often the link
 * is lost. Nothing is kept here. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from '../../clients/js/index.js';
import { serve } from '../lib/serve.js';

const PACE_MS = Number(process.env.PACE_MS ?? 60);

/* Stands for a language model: yields pieces of text, with pauses. */
async function* think(question) {
    const answer = `You asked: “${question}” Here is what I can say about it. A channel is a log, and a reader is a place in that log. ` +
        'So this answer does not travel to a page; it is written down, word by word, and every page that follows it reads on from its own place. ' +
        'Reload this page while I speak, cut the network, or open a second window: each of them shows the whole answer, every word once and in order. ' +
        'That is all there is to it.';
    for (const word of answer.match(/\S+\s*/g)) {
        await sleep(PACE_MS * (0.5 + Math.random()));
        yield word;
    }
}

export async function start({ server, port }) {
    const client = new Client(server);   // not opened: it only publishes

    async function speak(channel, question) {
        let number = 0;
        for await (const word of think(question)) await client.publish(channel, { word }, { key: `word ${++number}` });
        await client.publish(channel, { done: true }, { key: 'done' });
    }

    await serve({
        port, page: fileURLToPath(new URL('./page/', import.meta.url)),
        calls: {
            'GET /server': () => ({ server }),
            'POST /ask': ({ question }) => {
                const channel = `topic:answer-${randomUUID()}`;   // nobody guesses it
                speak(channel, String(question)).catch(error => console.error(`${channel}: ${error.message}`));
                return { channel };
            },
        },
    });
}
