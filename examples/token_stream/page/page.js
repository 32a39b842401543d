/* page.js - follows an answer from its first word on. The page's address names the answer, so a reload, a bookmark and another
 * window all show the same. */
import { connect } from '/longwire/index.js';

const at = id => document.getElementById(id);
const { server } = await (await fetch('server')).json();
const client = connect(server);

client.on('state', ({ name, why }) => {
    at('link').dataset.state = name;
    at('link').textContent = why ? `${name}: ${why}` : name;
});

let followed = null;

async function show(channel) {
    followed?.unsubscribe();
    at('answer').textContent = '';
    at('answer').dataset.done = false;
    if (!channel) return;
    followed = client.subscribe(channel, { after: 0 });
    for await (const { data } of followed) {
        if (data.done) {
            at('answer').dataset.done = true;
            break;
        }
        at('answer').append(data.word);
    }
}

at('ask').onsubmit = async event => {
    event.preventDefault();
    const answer = await fetch('ask', { method: 'POST', body: JSON.stringify({ question: at('question').value }) });
    location.hash = (await answer.json()).channel;
};

addEventListener('hashchange', () => show(decodeURIComponent(location.hash.slice(1))));
show(decodeURIComponent(location.hash.slice(1)));
