/* types.ts - what an application writes against the package's types; test/system/test_client_js.py has it checked, not run. */
import { Client, LongwireError, connect, type Message, type Place, type Receipt } from 'longwire';

interface Price { symbol: string; price: number }

const client: Client = connect('https://push.example.com', {
    token: async ({ why }) => (why === 'refused' ? null : 'token'),
    keep: 'session', transports: ['websocket', 'poll'], session: true, device: 'phone',
    backOff: { base_ms: 100 }, onMessage: message => console.log(message.channel),
});

client.subscribe<Price>('topic:prices', async (message: Message<Price>) => {
    const price: number = message.data.price;
    console.log(price.toFixed(2));
}, { last: 10, onGap: gap => console.log(gap.from, gap.to, gap.why), state: async ({ why, gap }): Promise<Place> => ({ seq: gap?.to ?? why.length }) });

export async function loop(): Promise<void> {
    for await (const message of client.subscribe('topic:stream', { after: 0 })) console.log(message.data);
    const receipt: Receipt = await client.publish('topic:a', { a: [1, 'b', null] }, { ttl: 5, priority: 'beat' });
    await client.publish('topic:a', new Uint8Array(2), { media: 'image/png' });
    console.log(receipt.seq);
}

const end: () => void = client.on('state', ({ name, why, until }) => console.log(name, why, until ?? 0));
client.on('membership', ({ group, joined }) => console.log(group, joined));
client.on('error', ({ error }) => error instanceof LongwireError && console.log(error.code, error.isFinal));
end();

// @ts-expect-error there is no such transport
connect('x', { transports: ['pigeon'] });
// @ts-expect-error a place is a number
client.subscribe('topic:a', () => {}, { after: '5' });
// @ts-expect-error a handler is needed to call one
client.subscribe();
