/* app.js - the dispatcher, and some drivers that stand for phones.
 *
 * Positions go up: each driver publishes to live:positions, a memory channel, because only the newest count. Orders go down: to
 * user:DRIVER, a durable channel, so a driver who is in a tunnel finds the order behind it. What became of an order is told in
 * topic:orders. */
import { fileURLToPath } from 'node:url';
import { connect } from '../../clients/js/index.js';
import { serve } from '../lib/serve.js';

const NAMES = ['anna', 'bola', 'chen', 'dana', 'emil', 'fatima', 'goran', 'hana'];
const TICK_MS = Number(process.env.TICK_MS ?? 500);
const STEP = 2.5;          // of a city of 100 × 100 in one tick
const FRESH_MS = 10000;    // a driver who has said nothing for longer is not sent anywhere

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
const somewhere = () => ({ x: Math.round(Math.random() * 100), y: Math.round(Math.random() * 100) });

/* A phone in a car: drives about, takes an order, drives there, says so. */
class Driver {
    #client;
    #place = somewhere();
    #goal = somewhere();
    #order = null;

    constructor(server, name) {
        this.name = name;
        this.#client = connect(server, { user: name });
        this.#client.subscribe(`user:${name}`, ({ data }) => this.#take(data));
        setInterval(() => this.#drive(), TICK_MS);
    }

    #take({ order, x, y }) {
        this.#order = order;
        this.#goal = { x, y };
        return this.#tell('on the way');
    }

    #drive() {
        const left = distance(this.#place, this.#goal);
        const part = Math.min(1, STEP / Math.max(left, 0.01));
        this.#place = { x: this.#place.x + (this.#goal.x - this.#place.x) * part, y: this.#place.y + (this.#goal.y - this.#place.y) * part };
        if (part === 1) this.#arrive();
        const position = { driver: this.name, ...this.#place, isBusy: this.#order !== null };
        this.#client.publish('live:positions', position, { timeoutMs: 5000 }).catch(() => {});   // the next one is newer
    }

    #arrive() {
        if (this.#order) this.#tell('there');
        this.#order = null;
        this.#goal = somewhere();
    }

    #tell(state) {
        const key = `${this.#order} ${state}`;
        return this.#client.publish('topic:orders', { order: this.#order, driver: this.name, state }, { key });
    }
}

/* Knows the newest position of each driver, and sends the nearest free one. */
class Dispatcher {
    #client;
    #drivers = new Map();

    constructor(server) {
        this.#client = connect(server);
        this.#client.subscribe('live:positions', ({ data, time }) => { this.#drivers.set(data.driver, { ...data, time }); }, { last: 100 });
    }

    /* The seq of the message that tells of an order is its number: the log counts. */
    async order({ x, y }) {
        const { seq: order } = await this.#client.publish('topic:orders', { x, y, state: 'ordered' });
        const free = [...this.#drivers.values()].filter(({ isBusy, time }) => !isBusy && time > Date.now() - FRESH_MS);
        free.sort((a, b) => distance(a, { x, y }) - distance(b, { x, y }));
        if (free.length === 0) {
            await this.#client.publish('topic:orders', { order, state: 'no driver is free' });
            return { order };
        }
        const [{ driver }] = free;
        this.#drivers.get(driver).isBusy = true;   // until it says otherwise
        await this.#client.publish(`user:${driver}`, { order, x, y }, { key: `order ${order}` });
        return { order, driver };
    }
}

function place({ x, y }) {
    for (const number of [x, y])
        if (!(number >= 0 && number <= 100)) throw Object.assign(new Error('x and y must be from 0 to 100'), { status: 400 });
    return { x, y };
}

export async function start({ server, port }) {
    const dispatcher = new Dispatcher(server);
    for (const name of NAMES) new Driver(server, name);
    await serve({
        port, page: fileURLToPath(new URL('./page/', import.meta.url)),
        calls: { 'GET /server': () => ({ server }), 'POST /order': body => dispatcher.order(place(body)) },
    });
}
