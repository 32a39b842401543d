/* first_fetch.js - the program of a test: a client whose server takes connections and ends them at once. It is a program of its own,
 * because fetch() of Node.js is another at the first connection of a process. */
import net from 'node:net';
import { connect } from '../index.js';

const server = net.createServer(socket => socket.on('error', () => {}).end()).listen(0, '127.0.0.1', () => {
    const client = connect(`http://127.0.0.1:${server.address().port}`, { transports: ['websocket'], patienceMs: 600000 });
    client.subscribe('room:a', () => {});
    client.on('state', ({ name }) => { if (name === 'away') { console.log(name); process.exit(); } });
});
