/* clients.js - event streams as the pages of others follow them. follow(NAME, URL) opens one; seen[NAME] is what came on
 * it, ends[NAME] how often it ended or failed. */
window.seen = {};
window.ends = {};

/* What a page does with an event: it takes the data for JSON, whatever they are. */
window.take = (name, { data, lastEventId }) => {
    const message = JSON.parse(data);
    if (message.type === 'cursor') return;   // some libraries don't tell events of other names apart
    seen[name].push({ text: message.data, id: lastEventId, at: Date.now() });
};

window.clients = {
    EventSource(name, url) {
        const source = new EventSource(url);
        source.onmessage = event => take(name, event);
        source.onerror = () => ends[name]++;
    },
};

window.follow = (name, url) => {
    seen[name] = [];
    ends[name] = 0;
    clients[name](name, url);
};
