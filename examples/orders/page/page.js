/* page.js - orders by client.fetch(), says where it is by publishing to up:…, and shows what the back end has seen of both. */
import { connect } from '/longwire/index.js';

const at = id => document.getElementById(id);
const { server } = await (await fetch('server')).json();
const client = connect(server, { user: 'ann', device: 'page' });

client.on('state', ({ name, why }) => {
    at('link').dataset.state = name;
    at('link').textContent = why ? `${name}: ${why}` : name;
});

at('order').onsubmit = async event => {
    event.preventDefault();
    const response = await client.fetch('/orders', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ what: at('what').value }),
    });
    at('answer').textContent = `${response.status} ${await response.text()}`;
};

setInterval(() => client.publish('up:ann', { x: Math.random(), y: Math.random() }).catch(() => {}), 2000);
setInterval(async () => { at('seen').textContent = JSON.stringify(await (await fetch('seen')).json(), null, 1); }, 1000);
