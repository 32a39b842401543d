/* clients.js - event streams as the pages of others follow them. follow(NAME, URL) opens one; window.seen[NAME] is what
 * came on it, window.ends[NAME] how often it ended or failed. */
window.seen = {};
window.ends = {};

/* What a page does with an event: it takes the data for JSON, whatever they are. */
function take(name, { data, lastEventId }) {
    const message = JSON.parse(data);
    window.seen[name].push({ seq: message.seq, text: message.data, id: lastEventId, at: Date.now() });
}

function followEventSource(name, url) {
    const source = new EventSource(url);
    source.onmessage = event => take(name, event);
    source.onerror = () => window.ends[name]++;
    return () => source.close();
}

const CLIENTS = { EventSource: followEventSource };

window.follow = (name, url, client = name) => {
    window.seen[name] = [];
    window.ends[name] = 0;
    return CLIENTS[client](name, url);
};
